"""The trainer against the real service, each a process of its own, as a user runs them."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lifeline
import pytest

from shared.certificate import parse_certificate, verify_certificate
from student_trainer.acquire import session
from student_trainer.acquire.client import Access
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.run_folder import RunFolder

TEACHER = ("--arch", "mobilenet_v2-320x0.1", "--image-size", "32", "--port", "0")
SERVICE = str(Path(sys.executable).with_name("teacher-service"))
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


class Service:
    """``teacher-service serve`` on a data folder of its own; can be killed and started again."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.url = ""
        self.public_key = ""
        self._process: subprocess.Popen[str] | None = None

    def start(self, *options: str) -> None:
        self._process = lifeline.start(
            [SERVICE, "serve", *TEACHER, "--data-dir", str(self.data_dir), "--json", *options],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        facts = json.loads(self._process.stdout.readline())
        self.url, self.public_key = facts["address"], facts["public_key"]

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.communicate(timeout=30)
            self._process = None

    def create_key(self, budget: int, **options: str) -> str:
        flags = [part for name, value in options.items() for part in (f"--{name}", value)]
        command = [SERVICE, "keys", "create", "test", "--budget", str(budget), *flags]
        done = subprocess.run(
            [*command, "--data-dir", str(self.data_dir), "--json"],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=True,
        )
        return next(value for value in json.loads(done.stdout).values() if str(value).startswith("rtn_"))


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Not started yet."""
    service = Service(tmp_path / "service")
    yield service
    service.stop(signal.SIGKILL)


@pytest.fixture
def start_trainer(command: list[str], service: Service) -> Callable[..., "subprocess.Popen[str]"]:
    """A function that starts a verb of the trainer with an API key."""

    def start(api_key: str, *arguments: object) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*command, *map(str, arguments)],
            env={**ENVIRONMENT, "TEACHER_URL": service.url, "TEACHER_API_KEY": api_key},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def finish(process: "subprocess.Popen[str]", exit_code: int = 0) -> tuple[str, str]:
    output, errors = process.communicate(timeout=120)
    assert process.returncode == exit_code, errors
    return output, errors


@pytest.mark.slow
def test_a_budget_is_spent_exactly_and_one_query_more_is_refused(
    service: Service, start_trainer: Any, photographs: Callable[[int], Path], tmp_path: Path
) -> None:
    folder, run = photographs(31), RunFolder(tmp_path / "run")
    api_key = service.create_key(30, rate="60/second")
    service.start()
    plan = ("plan", "--run", run.root, "--images", folder)
    fetch = ("fetch", "--run", run.root, "--yes", "--json")
    output, _ = finish(start_trainer(api_key, *plan, "--queries", 30))
    assert "30 of 30 queries left" in output
    result = json.loads(finish(start_trainer(api_key, *fetch, "--batch", 4))[0])
    assert (result["charged"], result["remaining"], result["complete"]) == (30, 0, True)

    finish(start_trainer(api_key, *plan, "--queries", 31))
    _, errors = finish(start_trainer(api_key, *fetch), 3)
    assert "still needs 1 queries" in errors

    output, _ = finish(start_trainer(api_key, "audit", "--run", run.root))
    assert output.startswith("30 of 30 queries spent by key")
    certificate = parse_certificate(run.certificate.read_bytes())
    assert verify_certificate(certificate, service.public_key).images == 30
    with TransferSet.open(run.transfer_set) as transfer_set:
        teacher = transfer_set.teacher
    assert teacher is not None
    assert set(teacher.description) >= {"weights", "network", "preprocessing", "scales", "output"}

    service.stop()
    service.start("--weights-seed", "1")
    service_key = ("--url", service.url)
    _, errors = finish(start_trainer(api_key, *fetch, *service_key), 5)
    assert "The teacher's revision is now" in errors


@pytest.mark.slow
def test_a_transfer_set_that_grows_pays_the_difference_and_one_certificate_covers_all(
    service: Service, start_trainer: Any, photographs: Callable[[int], Path], tmp_path: Path
) -> None:
    folder, run = photographs(24), RunFolder(tmp_path / "run")
    recipe = tmp_path / "tiny.toml"
    student = '[student]\narch = "mobilenet_v2-320x0.1"\nweights = "random"\n'
    recipe.write_text(f"{student}[images]\nlongest_side_px = 32\n")
    api_key = service.create_key(100)
    service.start()
    plan = ("plan", "--run", run.root, "--images", folder, "--json")
    fetch = ("fetch", "--run", run.root, "--yes", "--json")
    finish(start_trainer(api_key, *plan, "--queries", 8))
    assert json.loads(finish(start_trainer(api_key, *fetch))[0])["charged"] == 8
    with TransferSet.open(run.transfer_set) as transfer_set:
        first = transfer_set.bought().images

    grown = (*plan, "--queries", 12, "--selection", "k-center", "--recipe", recipe)
    planned = json.loads(finish(start_trainer(api_key, *grown))[0])
    assert (planned["chosen"], planned["added"], planned["queries"]) == (12, 4, 4)
    assert planned["earlier"] == [{"strategy": "random", "seed": 0, "network": "", "images": 8}]
    result = json.loads(finish(start_trainer(api_key, *fetch))[0])
    assert (result["charged"], result["charged_in_all"], result["remaining"]) == (4, 12, 88)
    with TransferSet.open(run.transfer_set) as transfer_set:
        assert transfer_set.bought().images[:8] == first
    finish(start_trainer(api_key, "audit", "--run", run.root))
    certificate = parse_certificate(run.certificate.read_bytes())
    assert verify_certificate(certificate, service.public_key).images == 12

    _, errors = finish(start_trainer(api_key, *plan, "--queries", 11), 2)
    assert "12 images are bought or asked for, so a plan for 11 would lose some of them" in errors


def receipts(run: RunFolder) -> int:
    with TransferSet.open(run.transfer_set) as transfer_set:
        return int(transfer_set.rows("SELECT count(*) FROM receipts")[0][0])


def wait_for_receipts(run: RunFolder, more: int, process: "subprocess.Popen[str]") -> None:
    """Until ``more`` answers were stored from now on."""
    target = receipts(run) + more
    while receipts(run) < target:
        assert process.poll() is None, "the fetch ended before it could be killed"
        time.sleep(0.005)


@pytest.mark.slow
def test_killing_both_sides_at_random_moments_never_changes_the_count(
    service: Service, start_trainer: Any, planned: Callable[..., RunFolder]
) -> None:
    """A fetch outlives a service that comes back, and a fetch that dies is not charged twice."""
    moments, run = random.Random("both sides"), planned(queries=180)
    api_key = service.create_key(180)
    service.start()
    fetch = ("fetch", "--run", run.root, "--yes", "--batch", 2, "--concurrency", 3, "--json")
    for _ in range(4):
        trainer = start_trainer(api_key, *fetch)
        wait_for_receipts(run, moments.randint(1, 6), trainer)
        time.sleep(moments.random() * 0.03)
        trainer.kill()
        trainer.communicate()
    trainer = start_trainer(api_key, *fetch)
    wait_for_receipts(run, moments.randint(1, 6), trainer)
    service.stop(signal.SIGKILL)
    service.start("--port", service.url.rsplit(":", 1)[1])
    result = json.loads(finish(trainer)[0])
    assert (result["bought"], result["remaining"], result["complete"]) == (180, 0, True)
    output, _ = finish(start_trainer(api_key, "audit", "--run", run.root))
    assert output.startswith("180 of 180 queries spent")
    with TransferSet.open(run.transfer_set) as transfer_set:
        assert len(set(transfer_set.bought().images)) == 180


@pytest.mark.slow
def test_a_service_that_comes_back_with_another_teacher_charges_nothing_more(
    service: Service, start_trainer: Any, planned: Callable[..., RunFolder]
) -> None:
    run = planned(queries=180)
    api_key = service.create_key(180)
    service.start()
    fetch = ("fetch", "--run", run.root, "--yes", "--batch", 2, "--concurrency", 3)
    trainer = start_trainer(api_key, *fetch)
    wait_for_receipts(run, 3, trainer)
    service.stop()
    service.start("--port", service.url.rsplit(":", 1)[1], "--weights-seed", "1")
    _, errors = finish(trainer, 5)
    assert "Nothing was charged" in errors
    _, usage = session.meet(Access(service.url, api_key))
    with TransferSet.open(run.transfer_set) as transfer_set:
        assert usage.used == len(transfer_set.bought().images) < 180
