"""What continuous integration runs never passes by way of tests that skipped for want of Redis."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / ".ci" / "run"
Run = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """``run(program=exit_code, ...)`` on a machine that has these alone: exit code, and what was called."""

    def on_machine(**programs: int) -> tuple[int, list[str]]:
        calls = tmp_path / "calls.txt"
        calls.touch()
        programs_dir = tmp_path / "programs"
        programs_dir.mkdir()
        (programs_dir / "dirname").write_text('#!/bin/bash\necho "${1%/*}"\n')
        (programs_dir / "id").write_text("#!/bin/bash\necho 0\n")
        for name, code in programs.items():
            said = name.replace("_", "-")
            (programs_dir / said).write_text(f'#!/bin/bash\necho "{said} $*" >> {calls}\nexit {code}\n')
        for program in programs_dir.iterdir():
            program.chmod(0o755)
        done = subprocess.run(
            ["/bin/bash", str(SCRIPT)], env={"PATH": str(programs_dir)}, capture_output=True, check=False
        )
        return done.returncode, calls.read_text().splitlines()

    return on_machine


def test_a_machine_without_redis_gets_it_before_the_tests_run(run: Run) -> None:
    code, calls = run(apt_get=0, make=0)
    assert code == 0
    assert calls == ["apt-get update -q", "apt-get install -y -q redis-server", "make check test"]


def test_a_machine_with_redis_is_left_as_it_is(run: Run) -> None:
    assert run(redis_server=0, make=0) == (0, ["make check test"])


def test_where_redis_cannot_be_installed_nothing_runs_and_nothing_passes(run: Run) -> None:
    code, calls = run(apt_get=100, make=0)
    assert code == 100
    assert calls == ["apt-get update -q"]


def test_tests_that_fail_fail_the_run(run: Run) -> None:
    assert run(redis_server=0, make=2)[0] == 2
