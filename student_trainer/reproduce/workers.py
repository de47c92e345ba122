"""Cells one after the other, or several at a time, each in a process of its own; a failure loses no other.

In: tasks, and the folder of the cells. Out: their records in it, and what failed. Whoever is killed takes its
processes along; the cells continue next time.
"""

import multiprocessing
import os
import shutil
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import MappingProxyType

from shared.allocator import keep_pages
from student_trainer.errors import TrainerError
from student_trainer.trials import cells
from student_trainer.trials.cells import Task
from student_trainer.trials.files import write_whole

FAILURE, LOG = "failure.txt", "log.txt"
"""In a cell's folder: why it failed, and what it said where several run at a time."""
_CACHE = "cache-{place}"
"""Beside the cells, one for each that runs at the same time: decoded images of the last training."""


@dataclass(frozen=True)
class Failure:
    """A cell that could not be made or measured; the next run tries it again."""

    cell: str
    reason: str


def run_all(
    tasks: Sequence[Task],
    root: Path,
    jobs: int,
    say: Callable[[str], None],
    names: Mapping[str, str] = MappingProxyType({}),
) -> list[Failure]:
    """Run every task that is not finished.

    Args:
        tasks: what to run, in this order.
        root: folder of the cells.
        jobs: processes at a time; 1 runs all in this process.
        say: told of every cell.
        names: cell -> the rows that it is for, to be told too.
    """

    def told(cell: str) -> str:
        return f"{names[cell]} ({cell})" if cell in names else cell

    waiting = [task for task in tasks if task.unmeasured(root)]
    caches = [root / _CACHE.format(place=place) for place in range(jobs)]
    try:
        if jobs == 1:
            return _here(waiting, root, caches[0], say, told)
        return _side_by_side(waiting, root, caches, say, told)
    finally:
        for cache in caches:
            shutil.rmtree(cache, ignore_errors=True)


def _here(
    tasks: Sequence[Task], root: Path, cache: Path, say: Callable[[str], None], told: Callable[[str], str]
) -> list[Failure]:
    failures = []
    for number, task in enumerate(tasks, 1):
        say(f"[{number}/{len(tasks)}] {told(task.making.name)} ...")
        if (reason := _attempt(task, root, cache)) is not None:
            failures.append(Failure(task.making.name, reason))
            say(f"[{number}/{len(tasks)}] {told(task.making.name)} failed: {reason}")
    return failures


@dataclass(frozen=True)
class _Running:
    process: SpawnProcess
    name: str
    cache: Path


def _side_by_side(
    tasks: Sequence[Task],
    root: Path,
    caches: Sequence[Path],
    say: Callable[[str], None],
    told: Callable[[str], str],
) -> list[Failure]:
    threads = _threads_each(len(caches))
    queue, free = list(enumerate(tasks, 1)), list(caches)
    running: dict[int, _Running] = {}
    failures: list[Failure] = []
    try:
        while queue or running:
            while queue and free:
                number, task = queue.pop(0)
                begun = _begin(task, root, free.pop(0), threads)
                running[begun.process.sentinel] = begun
                say(f"[{number}/{len(tasks)}] {told(begun.name)} ...")
            for sentinel in wait(list(running)):
                assert isinstance(sentinel, int)
                ended = running.pop(sentinel)
                ended.process.join()
                free.append(ended.cache)
                if (reason := _why(root / ended.name, ended.process.exitcode)) is not None:
                    failures.append(Failure(ended.name, reason))
                    say(f"{told(ended.name)} failed: {reason}")
    finally:
        for one in running.values():
            one.process.terminate()
        for one in running.values():
            one.process.join()
    return failures


def _threads_each(processes: int) -> int | None:
    """A share of this process's; None where nothing has loaded torch so far, since then nothing computes."""
    torch = sys.modules.get("torch")
    return None if torch is None else max(1, torch.get_num_threads() // processes)


def _begin(task: Task, root: Path, cache: Path, threads: int | None) -> _Running:
    """Start a process and send it its task; that it died meanwhile is seen where its end is waited for.

    The task is not among the arguments: :meth:`SpawnProcess.start` writes those into a pipe whose other end
    this process holds too, so more than the pipe takes (64 KiB) would wait for ever for a dead reader.
    """
    (task.folder(root) / FAILURE).unlink(missing_ok=True)  # of an earlier run; it may die before it does so
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    with sender:
        with receiver:
            process = context.Process(
                target=_in_a_process, args=(receiver, root, cache, threads), daemon=True
            )
            process.start()
        with suppress(BrokenPipeError, ConnectionResetError):
            sender.send(task)
    return _Running(process, task.making.name, cache)


def _attempt(task: Task, root: Path, cache: Path) -> str | None:
    """Run one; the reason in a sentence if it fails, whatever it fails of."""
    folder = task.folder(root)
    (folder / FAILURE).unlink(missing_ok=True)
    try:
        cells.run(task, root, cache)
    except TrainerError as error:
        reason, details = str(error), ""
    except Exception as error:  # out of memory, a fault of ours: the other cells are worth having
        reason, details = f"{type(error).__name__}: {error}", traceback.format_exc()
    else:
        return None
    with suppress(TrainerError):  # on a full disk; the reason is told in any case
        write_whole(folder / FAILURE, f"{reason}\n\n{details}")
    return reason


def _in_a_process(receiver: "Connection[None, Task]", root: Path, cache: Path, threads: int | None) -> None:
    """The whole life of a process that runs one cell."""
    keep_pages()
    _end_with_parent()
    with receiver:
        task = receiver.recv()
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    folder = task.folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOG).open("a", encoding="utf-8") as log:
        sys.stderr = log
        failed = _attempt(task, root, cache) is not None
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
