"""The real command in a process of its own: what it prints, how it ends, and what survives its death."""

import asyncio
import errno
import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import lifeline
import numpy as np
import pytest
import torch
from made_public_networks import calibrated_resnet18, public_content, textured

from shared.checkpoints import load_network
from shared.extraction import describe
from shared.protocol import Header
from shared.vectors import Float32Rows, decode_rows
from teacher_service import cli
from teacher_service.access.keys import mint
from teacher_service.metering.auditing.verify import verify_store
from teacher_service.metering.sqlite.store import SqliteLedger

COMMAND = [sys.executable, "-c", "from teacher_service.cli import main; main()"]
TINY = ["--arch", "mobilenet_v2-320x0.1", "--image-size", "64", "--log-level", "warning"]


@dataclass
class Process:
    """A running ``teacher-service serve`` and the lines that it printed."""

    popen: subprocess.Popen[str]
    facts: dict[str, str]
    errors: Path
    """What it wrote to standard error."""

    def end(self, number: int) -> int:
        self.popen.send_signal(number)
        return self.popen.wait(timeout=30)


@pytest.fixture
def serve(data_dir: Path) -> Iterator[Callable[..., Process]]:
    """``serve(port, teacher)`` starts the command on one data folder; whatever still runs is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(port: int = 0, teacher: list[str] = TINY) -> Process:
        command = [*COMMAND, "serve", *teacher, "--port", str(port), "--data-dir", str(data_dir)]
        errors = data_dir.with_name(f"errors{len(started)}.txt")
        with errors.open("w") as stderr:
            popen = lifeline.start(
                command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment()
            )
        started.append(popen)
        assert popen.stdout is not None
        lines = [popen.stdout.readline().rstrip().split(maxsplit=1) for _ in range(5)]
        return Process(popen, {name: value for name, value in lines}, errors)

    yield start
    for popen in started:
        if popen.poll() is None:
            popen.kill()
        popen.communicate()


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def with_ledger(data_dir: Path, work: Callable[[SqliteLedger], Any]) -> Any:
    async def opened() -> Any:
        ledger = SqliteLedger(data_dir / "ledger.sqlite", serve=False)
        await ledger.open()
        try:
            return await work(ledger)
        finally:
            await ledger.close()

    return asyncio.run(opened())


def make_key(data_dir: Path, budget: int) -> str:
    text, new = mint("test", budget)
    with_ledger(data_dir, lambda ledger: ledger.create_key(new))
    return text


def ask(address: str, key: str, *images: bytes) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}", "Accept": "application/octet-stream"}
    files = [("images", ("x", image, "image/png")) for image in images]
    with httpx.Client(trust_env=False, verify=False, timeout=30) as client:
        return client.post(f"{address}/v1/embeddings", files=files, headers=headers)


def test_it_prints_its_facts_ends_in_order_and_is_the_same_after_a_restart(
    serve: Callable[..., Process],
    data_dir: Path,
    photo: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = serve()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", first.facts["address"])
    assert re.fullmatch(r"[0-9a-f]{64}", first.facts["public_key"])
    assert list(first.facts) == ["address", "model", "teacher_revision", "public_key", "weights"]
    assert first.facts["weights"] == "random, seed 0"
    assert first.errors.read_text().startswith("teacher-service: warning: descriptors of random weights")
    key = make_key(data_dir, budget=1)
    bought = ask(first.facts["address"], key, photo(1))
    assert bought.headers[Header.TEACHER_REVISION] == first.facts["teacher_revision"]

    # A second server on the same folder is refused while the first one serves.
    argv = ["teacher-service", "serve", *TINY, "--port", "0", "--data-dir", str(data_dir)]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 4
    assert "serves from" in capsys.readouterr().err

    assert first.end(signal.SIGTERM) == 0
    second = serve()
    unchanged = ("model", "public_key", "teacher_revision")
    assert [second.facts[name] for name in unchanged] == [first.facts[name] for name in unchanged]
    again = ask(second.facts["address"], key, photo(1))
    assert (again.headers[Header.QUERIES_CHARGED], again.content) == ("0", bought.content)
    assert second.end(signal.SIGINT) == 0


def test_a_public_checkpoint_is_served_with_the_descriptors_of_its_network(
    serve: Callable[..., Process], data_dir: Path, photo: Callable[..., bytes], tmp_path: Path
) -> None:
    images = [textured(64, 48, seed) for seed in range(4)]
    content = public_content(calibrated_resnet18(images), p=2.7)
    torch.save(content, tmp_path / "plain.pth")
    digest = hashlib.sha256((tmp_path / "plain.pth").read_bytes()).hexdigest()
    checkpoint = (tmp_path / "plain.pth").rename(tmp_path / f"retrievalSfM120k-resnet18-gem-{digest[:7]}.pth")
    process = serve(teacher=["--checkpoint", str(checkpoint), "--image-size", "64", "--log-level", "warning"])
    assert process.facts["model"] == "resnet18-gem"
    assert process.facts["weights"] == checkpoint.name
    assert process.errors.read_text() == ""
    large = photo(1, 150, 110)
    answer = ask(process.facts["address"], make_key(data_dir, budget=2), photo(0), large)
    expected = describe(load_network(checkpoint), [photo(0), large], 64)
    np.testing.assert_allclose(decode_rows(answer.content, 512), expected, atol=1e-5)
    assert process.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, cli.INTERRUPTED), (signal.SIGTERM, -signal.SIGTERM)]
)
def test_a_signal_while_the_teacher_is_loaded_ends_it_before_anything_is_served(
    data_dir: Path, number: int, code: int
) -> None:
    """A shell calls the end by SIGTERM 143."""
    pipe = data_dir.with_name("admin.key")
    os.mkfifo(pipe, 0o600)  # whoever reads it waits, and the teacher is built after it
    command = [*COMMAND, "serve", *TINY, "--admin-key-file", str(pipe), "--port", "0"]
    popen = lifeline.start(
        [*command, "--data-dir", str(data_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    writer = opened_by_its_reader(pipe, popen)
    popen.send_signal(number)
    out, err = popen.communicate(timeout=60)
    os.close(writer)
    assert (popen.returncode, out, err) == (code, "", "")


def opened_by_its_reader(pipe: Path, reader: "subprocess.Popen[str]") -> int:
    """A descriptor to write to the pipe, once ``reader`` waits at it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and reader.poll() is None:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            assert error.errno == errno.ENXIO, error  # nobody reads yet
            time.sleep(0.01)
    reader.kill()
    raise AssertionError(reader.communicate()[1])


def test_killing_it_under_load_never_changes_the_final_count(
    serve: Callable[..., Process], data_dir: Path, photo: Callable[..., bytes]
) -> None:
    """Invariant 4: kill -9 at seeded random moments, clients that retry, one charge for each image."""
    chance = random.Random(20_260_101)
    images = {seed: photo(seed, 40, 30) for seed in range(48)}
    key = make_key(data_dir, budget=len(images))
    process = serve()
    address = process.facts["address"]
    answered, done = threading.Semaphore(0), threading.Event()
    rows: dict[int, list[Float32Rows]] = {seed: [] for seed in images}
    failures: list[str] = []

    def client(order: list[int]) -> None:
        for start in range(0, len(order), 2):
            pair = order[start : start + 2]
            while not done.is_set():
                try:
                    answer = ask(address, key, *(images[seed] for seed in pair))
                except httpx.HTTPError:  # the server is dead, or died with the request
                    done.wait(0.05)
                    continue
                if answer.status_code != 200:
                    failures.append(answer.text)
                    return
                for seed, row in zip(pair, decode_rows(answer.content, 32), strict=True):
                    rows[seed].append(row)
                answered.release()
                break

    orders = [chance.sample(sorted(images), len(images)) for _ in range(4)]
    clients = [threading.Thread(target=client, args=(order,)) for order in orders]
    for thread in clients:
        thread.start()
    try:
        for _ in range(3):
            for _ in range(chance.randint(5, 20)):
                assert answered.acquire(timeout=30), failures
            done.wait(chance.uniform(0.0, 0.02))
            process.end(signal.SIGKILL)
            process = serve(int(address.rpartition(":")[2]))
        for thread in clients:
            thread.join(timeout=60)
            assert not thread.is_alive()
    finally:
        done.set()
    assert failures == []
    for seen in rows.values():  # computed anew after a restart: equal but for the last bits
        assert np.allclose(np.stack(seen), seen[0], atol=1e-5)
    assert process.end(signal.SIGTERM) == 0
    verified = with_ledger(data_dir, verify_store)
    [account] = verified.accounts
    assert (account.used, len(account.charged_images)) == (len(images), len(images))
    assert with_ledger(data_dir, lambda ledger: ledger.key(account.key_id)).held == 0
