"""The allocator keeps its pages: what was freed is taken again, without a new page from the system."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

import student_trainer.cli
import teacher_service.cli

ROOT = Path(__file__).parents[2]
TENSOR_BYTES = 400_000_000
"""Above what glibc keeps by itself, and above the 64 MiB at which the heaps of its other threads end."""
IN_A_THREAD = f"""
import resource, sys, threading
from shared.allocator import keep_pages

print(keep_pages() if sys.argv[1] == "kept" else None)

def fill():
    b"x" * int({TENSOR_BYTES})

def watch():
    fill()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    fill()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

thread = threading.Thread(target=watch)
thread.start()
thread.join()
"""


def has_glibc() -> bool:
    return hasattr(ctypes.CDLL(None), "gnu_get_libc_version")


def run(what: str, code: str = IN_A_THREAD, **environment: str) -> tuple[str, int]:
    """What the code prints: whether pages are kept, and a number."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    found = subprocess.run(
        [sys.executable, "-c", code, what],
        cwd=ROOT,
        env={**inherited, **environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    answer, number = found.stdout.split()
    return answer, int(number)


@pytest.mark.skipif(not has_glibc(), reason="needs glibc")
def test_what_was_freed_is_taken_again_in_whichever_thread() -> None:
    answer, faults_kept = run("kept")
    assert answer == "True"
    _, faults_fresh = run("as it comes")
    assert faults_kept < 50
    assert faults_fresh > 150  # 97,657 pages of 4 KiB, or 191 of 2 MiB


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_settings_of_the_users_own_are_left_alone(name: str) -> None:
    answer, _ = run("kept", **{name: "" if name == "GLIBC_TUNABLES" else "4"})
    assert answer == "False"


@pytest.mark.parametrize("command", [student_trainer.cli, teacher_service.cli])
def test_both_commands_keep_their_pages(command: object, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    monkeypatch.setattr(command, "keep_pages", lambda: told.append("keep"))
    monkeypatch.setattr(command, "app", lambda **_: told.append("run"))
    command.main()  # type: ignore[attr-defined]
    assert told == ["keep", "run"]


GIVEN_BACK = f"""
from shared.allocator import give_back_pages, keep_pages

def resident_bytes():
    status = open("/proc/self/status").read()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024

assert keep_pages()
large = b"x" * {TENSOR_BYTES}
above = [b"y" * 1000 for _ in range(1000)]  # in use, so the heap does not end below it
del large
before = resident_bytes()
give_back_pages()
print(True, before - resident_bytes())
"""


@pytest.mark.skipif(not has_glibc(), reason="needs glibc")
def test_what_lies_below_something_in_use_is_given_back_when_asked_for() -> None:
    _, given_back_bytes = run("", code=GIVEN_BACK)
    assert given_back_bytes > 0.9 * TENSOR_BYTES
