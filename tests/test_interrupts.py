"""Ctrl-C at any instant of a command's loading ends it with 130 and without a word."""

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import student_trainer.errors
import teacher_service.cli
from shared import interrupts

ROOT = Path(__file__).parent.parent
PACKAGES = ("student_trainer", "teacher_service")

INTERRUPTED_AT = """
import os, signal, sys

at = sys.argv.pop()

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == at:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from {package}.__main__ import main
sys.argv.append("--help")
main()
"""


@pytest.mark.parametrize(
    ("package", "module"),
    [
        *(
            ("student_trainer", f"student_trainer.{late}")
            for late in ("cli", "publish", "reproduce.commands")
        ),
        *(
            ("teacher_service", f"teacher_service.{late}")
            for late in ("cli", "settings", "inference.commands")
        ),
        *(
            (package, of_both)
            for package in PACKAGES
            for of_both in ("shared.interrupts", "typer", "shared.allocator")
        ),
    ],
)
def test_an_interrupt_while_a_module_is_loaded_is_an_orderly_end(package: str, module: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED_AT.format(package=package), module]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


IGNORED = """
import os, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
from shared.interrupts import ending_at_once
with ending_at_once():
    os.kill(os.getpid(), signal.SIGINT)
print("went on")
"""

AFTERWARDS = """
import os, signal
from shared.interrupts import ending_at_once
with ending_at_once():
    pass
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("went on")
"""


@pytest.mark.parametrize("code", [IGNORED, AFTERWARDS])
def test_an_interrupt_that_is_ignored_stays_so_and_one_after_the_loading_is_the_commands_own(
    code: str,
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "went on\n", "")


@pytest.mark.parametrize("package", PACKAGES)
def test_the_installed_command_and_the_package_as_a_program_begin_there(package: str) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert scripts[package.replace("_", "-")] == f"{package}.__main__:main"
    shown = subprocess.run(
        [sys.executable, "-m", package, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (shown.returncode, shown.stderr) == (0, "") and "Usage" in shown.stdout


def test_the_code_of_an_interrupt_is_one() -> None:
    stated = [import_module(f"{package}.__main__").INTERRUPTED for package in PACKAGES]
    stated += [interrupts.INTERRUPTED, student_trainer.errors.INTERRUPTED, teacher_service.cli.INTERRUPTED]
    assert set(stated) == {130}
