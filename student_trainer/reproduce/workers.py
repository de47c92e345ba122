"""Cells one after the other, or several at a time, each in a process of its own; a failure loses no other.

In: tasks, and the folder of the cells. Out: their records in it, and what failed. Whoever is killed takes its
processes along; the cells continue next time.
"""

import multiprocessing
import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch

from student_trainer.curve.files import write_whole
from student_trainer.errors import TrainerError
from student_trainer.reproduce import cells
from student_trainer.reproduce.cells import Task

FAILURE, LOG = "failure.txt", "log.txt"
"""In a cell's folder: why it failed, and what it said where several run at a time."""


@dataclass(frozen=True)
class Failure:
    """A cell that could not be made or measured; the next run tries it again."""

    cell: str
    reason: str


def run_all(tasks: Sequence[Task], root: Path, jobs: int, say: Callable[[str], None]) -> list[Failure]:
    """Run every task that is not finished.

    Args:
        tasks: what to run, in this order.
        root: folder of the cells.
        jobs: processes at a time; 1 runs all in this process.
        say: told of every cell.
    """
    waiting = [task for task in tasks if task.unmeasured(root)]
    if jobs == 1 or len(waiting) <= 1:
        return _here(waiting, root, say)
    return _side_by_side(waiting, root, jobs, say)


def _here(tasks: Sequence[Task], root: Path, say: Callable[[str], None]) -> list[Failure]:
    failures = []
    for number, task in enumerate(tasks, 1):
        say(f"[{number}/{len(tasks)}] {task.making.name} ...")
        reason = _attempt(task, root)
        if reason is not None:
            failures.append(Failure(task.making.name, reason))
            say(f"[{number}/{len(tasks)}] {task.making.name} failed: {reason}")
    return failures


def _side_by_side(tasks: Sequence[Task], root: Path, jobs: int, say: Callable[[str], None]) -> list[Failure]:
    context = multiprocessing.get_context("spawn")
    threads = max(1, torch.get_num_threads() // jobs)
    failures: list[Failure] = []
    running: dict[int, tuple[SpawnProcess, str]] = {}
    queue = list(enumerate(tasks, 1))
    try:
        while queue or running:
            while queue and len(running) < jobs:
                number, task = queue.pop(0)
                process = context.Process(target=_in_a_process, args=(task, root, threads), daemon=True)
                process.start()
                running[process.sentinel] = (process, task.making.name)
                say(f"[{number}/{len(tasks)}] {task.making.name} ...")
            for sentinel in wait(list(running)):
                assert isinstance(sentinel, int)
                process, name = running.pop(sentinel)
                process.join()
                if (reason := _why(root / name, process.exitcode)) is not None:
                    failures.append(Failure(name, reason))
                    say(f"{name} failed: {reason}")
    finally:
        for process, _ in running.values():
            process.terminate()
        for process, _ in running.values():
            process.join()
    return failures


def _attempt(task: Task, root: Path) -> str | None:
    """Run one; the reason in a sentence if it fails, whatever it fails of."""
    folder = task.folder(root)
    (folder / FAILURE).unlink(missing_ok=True)
    try:
        cells.run(task, root)
    except TrainerError as error:
        reason, details = str(error), str(error)
    except Exception as error:  # out of memory, a fault of ours: the other cells are worth having
        reason, details = f"{type(error).__name__}: {error}", traceback.format_exc()
    else:
        return None
    write_whole(folder / FAILURE, f"{reason}\n\n{details}\n")
    return reason


def _in_a_process(task: Task, root: Path, threads: int) -> None:
    """The whole life of a process that runs one cell."""
    _end_with_parent()
    torch.set_num_threads(threads)
    folder = task.folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOG).open("a", encoding="utf-8") as log:
        sys.stderr = log
        failed = _attempt(task, root) is not None
    sys.stderr = sys.__stderr__
    raise SystemExit(int(failed))


def _end_with_parent() -> None:
    """A parent that was killed cannot end its processes: they end themselves."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _why(folder: Path, exit_code: int | None) -> str | None:
    if exit_code == 0:
        return None
    try:
        return (folder / FAILURE).read_text(encoding="utf-8").splitlines()[0]
    except (OSError, IndexError):
        return f"its process ended with code {exit_code} and said nothing; its log: {folder / LOG}"
