"""The recipes in ``docs/operations.md`` do what they say, with the files and commands that stand there."""

import asyncio
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from redis_process import RedisProcess
from typer.testing import CliRunner

from teacher_service.cli import app
from teacher_service.settings import Settings
from teacher_service.sharing import check_sharing

TEXT = (Path(__file__).parent.parent / "docs" / "operations.md").read_text(encoding="utf-8")


def block(after: str) -> list[str]:
    """The lines of the first block of code after some words."""
    [code] = re.findall(r"\A[^`]*?```\w*\n(.*?)```", TEXT.partition(after)[2], re.S)
    return [line.partition("   #")[0].strip() for line in code.splitlines()]


def options(after: str) -> dict[str, str]:
    """A configuration of Redis, without the place that a test chooses itself."""
    named = dict(line.split(maxsplit=1) for line in block(after))
    return {name: value.strip('"') for name, value in named.items() if name not in ("bind", "port", "dir")}


@pytest.fixture(scope="module")
def ledger(start_redis: Callable[..., RedisProcess]) -> RedisProcess:
    return start_redis(**options("`ledger.conf`:"))


def run(command: str) -> str:
    """A line of a recipe; its output."""
    done = CliRunner().invoke(app, shlex.split(command)[1:])
    assert done.exit_code == 0, (command, done.output, done.exception)
    return done.output


def test_the_two_servers_are_fit_for_what_they_hold(
    ledger: RedisProcess, start_redis: Callable[..., RedisProcess]
) -> None:
    cache = start_redis(**options("rate limits:"))
    assert asyncio.run(check_sharing(Settings(ledger=ledger.url, cache=cache.url))) == []
    with ledger.client() as client:
        told = client.config_get("appendonly", "appendfsync", "maxmemory-policy")
    assert told == {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}


def test_a_ledger_moves_from_a_file_into_redis_with_its_keys(
    ledger: RedisProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run("teacher-service keys create alice --budget 10 --data-dir old")
    Path("old/signing.key").write_text("07" * 32)
    for line in block("## Moving a ledger"):
        command, *words = shlex.split(line, comments=True) or [""]
        if command == "export":
            name, _, value = words[0].partition("=")
            assert re.fullmatch(r"redis://:LEDGER_PASSWORD@127\.0\.0\.1:6379/0", value)
            monkeypatch.setenv(name, ledger.url)
        elif command == "install":
            Path(words[-1]).mkdir(mode=0o700)
        elif command == "cp":
            shutil.copy2(words[-2], words[-1])
        elif command == "teacher-service" and words[0] != "serve":
            last = run(line)
    assert last.startswith("healthy: 1 keys, 1 records")
    assert "alice" in run("teacher-service keys list")
    assert Path("new/signing.key").is_file()


def test_the_variables_of_the_replicas_are_settings() -> None:
    exported = re.findall(r"TEACHER_(\w+)=", "\n".join(block("so use `rediss://`")))
    assert {"LEDGER", "CACHE", "DATA_DIR", "CHECKPOINT"} == set(exported)
    assert {name.lower() for name in exported} <= set(Settings.model_fields)
