"""Killing and interrupting real fetch processes: the count of charges never differs from |D|."""

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.run_folder import RunFolder

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(command: list[str], teacher: Any) -> Start:
    """A function that starts ``fetch --yes`` on a run folder as a process of its own."""

    def run(folder: RunFolder, *options: str, api_key: str = "rtn_k1_secret") -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*command, "fetch", "--run", str(folder.root), "--yes", *options],
            env={**os.environ, "TEACHER_URL": teacher.url, "TEACHER_API_KEY": api_key},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


class RequestCounter:
    """Lets a test wait until so many requests have arrived."""

    def __init__(self, teacher: Any) -> None:
        self._arrived, self._condition = 0, threading.Condition()
        teacher.on_request = self._count

    def _count(self) -> None:
        with self._condition:
            self._arrived += 1
            self._condition.notify_all()

    def wait_for(self, more: int, process: "subprocess.Popen[str]") -> None:
        """Until ``more`` requests arrived from now on, or the process has ended."""
        with self._condition:
            target = self._arrived + more
            while self._arrived < target and process.poll() is None:
                self._condition.wait(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("billing", ["distinct", "every-call"])
def test_a_fetch_killed_at_random_moments_charges_exactly_the_plan(
    teacher: Any, planned: Callable[..., RunFolder], start: Start, billing: str
) -> None:
    """Invariant 4 of the metering: one charge for each image, whenever the client dies."""
    teacher.add_key("rtn_k2_secret", budget=90, billing=billing)
    teacher.delay_s = 0.01
    run, moments = planned(queries=90), random.Random(f"kill {billing}")
    counter, kills = RequestCounter(teacher), 0
    while kills < 6:
        process = start(run, "--batch", "3", "--concurrency", "3", api_key="rtn_k2_secret")
        counter.wait_for(moments.randint(1, 5), process)
        time.sleep(moments.random() * 0.04)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        kills += 1
    final = start(run, api_key="rtn_k2_secret")
    _, errors = final.communicate(timeout=60)
    assert final.returncode == 0, errors
    with TransferSet.open(run.transfer_set) as transfer_set:
        summary, bought = transfer_set.summary(), transfer_set.bought()
    assert teacher.keys["rtn_k2_secret"].used == 90
    assert (summary.bought, summary.missing) == (90, 0)
    assert all(
        (row == teacher.vector(image)).all() for image, row in zip(bought.images, bought.vectors, strict=True)
    )


def test_an_interrupt_waits_for_what_is_on_its_way_and_says_how_to_go_on(
    teacher: Any, planned: Callable[..., RunFolder], start: Start
) -> None:
    teacher.delay_s = 0.05
    run = planned(queries=60)
    counter = RequestCounter(teacher)
    process = start(run, "--batch", "2", "--concurrency", "2")
    counter.wait_for(3, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    spent = teacher.keys["rtn_k1_secret"].used
    assert 0 < spent < 60
    assert f"Interrupted: {spent} queries spent in all, {60 - spent} descriptors missing" in errors
    assert "The same command continues; nothing is paid twice" in errors
    with TransferSet.open(run.transfer_set) as transfer_set:
        assert transfer_set.summary().bought == spent
    assert start(run).wait(timeout=60) == 0
    assert teacher.keys["rtn_k1_secret"].used == 60


def test_a_second_interrupt_does_not_wait(
    teacher: Any, planned: Callable[..., RunFolder], start: Start
) -> None:
    teacher.delay_s = 3.0
    run = planned(queries=4)
    counter = RequestCounter(teacher)
    process = start(run, "--batch", "2", "--concurrency", "1")
    counter.wait_for(1, process)
    started_s = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert time.monotonic() - started_s < 2.5
    teacher.delay_s = 0.0
    assert start(run).wait(timeout=60) == 0
    assert teacher.keys["rtn_k1_secret"].used == 4


def test_an_interrupt_ends_a_wait_for_a_rate_limit_at_once(
    teacher: Any, planned: Callable[..., RunFolder], start: Start
) -> None:
    teacher.script.extend([teacher.refusal(429, "rate_limit_exceeded", retry_after="50")] * 4)
    run = planned(queries=4)
    counter = RequestCounter(teacher)
    process = start(run, "--concurrency", "1")
    counter.wait_for(1, process)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130
    assert len(teacher.seen) == 1
