"""The compose file says what the deployment promises, and its two Redis servers start from it and are fit."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import yaml
from redis_process import RedisProcess
from typer.main import get_command

from teacher_service.cli import app as teacher_service
from teacher_service.settings import Settings
from teacher_service.sharing import check_sharing
from teacher_service.state import open_store

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
GIVEN = {"LEDGER_AUTH": "a1b2c3", "CACHE_AUTH": "d4e5f6", "TEACHER_CHECKPOINT": "./t.safetensors"}


def interpolated(text: str) -> str:
    """As compose does: ``${NAME}``, ``${NAME:-default}`` and ``${NAME:?message}``, which refuses."""

    def value(match: re.Match[str]) -> str:
        name, operator, rest = match.groups()
        if name in GIVEN:
            return GIVEN[name]
        assert operator == ":-", f"{name} is not given, and has no default"
        return str(rest)

    return re.sub(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}", value, text)


def redis_options(name: str) -> dict[str, str]:
    """The flags of a Redis service, by name."""
    program, *flags = [interpolated(word) for word in SERVICES[name]["command"]]
    assert program == "redis-server"
    return {flag.removeprefix("--"): value for flag, value in zip(flags[::2], flags[1::2], strict=True)}


@pytest.fixture(scope="module")
def ledger(start_redis: Callable[..., RedisProcess]) -> RedisProcess:
    return start_redis(**redis_options("ledger"))


@pytest.fixture(scope="module")
def cache(start_redis: Callable[..., RedisProcess]) -> RedisProcess:
    return start_redis(**redis_options("cache"))


def test_every_secret_comes_from_outside_and_none_has_a_default() -> None:
    for name in ("LEDGER_AUTH", "CACHE_AUTH", "TEACHER_CHECKPOINT"):
        assert re.search(rf"\$\{{{name}:\?[^}}]+\}}", TEXT), f"{name} may be missing without a word"
    assert "${TEACHER_ADMIN_KEY:-}" in TEXT
    assert not re.search(r"password|secret|rtn_", TEXT, re.I)
    stated = re.findall(r"(?:requirepass\", \"|redis://:|REDISCLI_AUTH: \")(\S+)", TEXT)
    assert len(stated) == 6
    assert all(value.startswith(("${LEDGER_AUTH", "${CACHE_AUTH")) for value in stated)


def test_what_every_command_needs_is_written_where_every_command_reads_it() -> None:
    """A variable before one command is unset for the next, and ``${NAME:?}`` refuses all of them."""
    head = TEXT.partition("services:")[0]
    for name in re.findall(r"\$\{(\w+):\?", TEXT):
        assert re.search(rf'echo "{name}=.+" >> \.env', head), name
    for file in (".gitignore", ".dockerignore"):
        assert ".env" in (ROOT / file).read_text(encoding="utf-8").splitlines()


def test_a_new_volume_belongs_to_the_user_that_writes_it() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    made = lines.index("RUN install -d -o ration -g ration -m 700 /data")
    assert lines.index("RUN useradd --create-home --uid 10001 ration") < made < lines.index("USER ration")
    assert made < lines.index("VOLUME /data")
    assert "teacher-data:/data" in SERVICES["teacher"]["volumes"]


def test_only_the_proxy_can_be_reached_and_only_from_this_machine() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["proxy"]
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["proxy"]["ports"])
    assert SERVICES["proxy"]["networks"] == ["front"]
    assert COMPOSE["networks"]["stores"] == {"internal": True}
    assert SERVICES["ledger"]["networks"] == SERVICES["cache"]["networks"] == ["stores"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_watched_and_locked_down(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert service["read_only"] is True
    assert service["tmpfs"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    for needed in service.get("depends_on", {}).values():
        assert needed == {"condition": "service_healthy"}


def test_the_teacher_runs_in_replicas_behind_what_it_needs() -> None:
    teacher = SERVICES["teacher"]
    assert interpolated(str(teacher["deploy"]["replicas"])) == "3"
    assert set(teacher["depends_on"]) == {"ledger", "cache"}
    assert set(SERVICES["proxy"]["depends_on"]) == {"teacher"}


def test_every_flag_and_variable_of_the_teacher_exists() -> None:
    teacher = SERVICES["teacher"]
    command, *words = teacher["command"]
    serve = get_command(teacher_service).commands[command]  # type: ignore[attr-defined]
    known = {flag for parameter in serve.params for flag in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known
    variables = {name.removeprefix("TEACHER_").lower() for name in teacher["environment"]}
    assert variables <= set(Settings.model_fields)


def test_the_teachers_settings_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SERVICES["teacher"]["environment"].items():
        monkeypatch.setenv(name, interpolated(value))
    settings = Settings()
    assert settings.ledger_url == "redis://:a1b2c3@ledger:6379/0"
    assert settings.rates_place == settings.cache == "redis://:d4e5f6@cache:6379/0"


def test_the_ledgers_redis_is_one_that_a_ledger_accepts(ledger: RedisProcess, tmp_path: Path) -> None:
    with ledger.client() as client:
        told = client.config_get("appendonly", "appendfsync", "maxmemory-policy")
    assert told == {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
    assert SERVICES["ledger"]["volumes"] == ["ledger-data:/data"]
    store = open_store(Settings(ledger=ledger.url, data_dir=tmp_path), serve=True)

    async def open_and_close() -> None:
        await store.open()
        await store.ping()
        await store.close()

    asyncio.run(open_and_close())


def test_the_caches_redis_evicts_keeps_nothing_on_disk_and_is_apart_from_the_ledger(
    ledger: RedisProcess, cache: RedisProcess
) -> None:
    with cache.client() as client:
        told = client.config_get("appendonly", "save", "maxmemory", "maxmemory-policy")
    assert told == {
        "appendonly": "no",
        "save": "",
        "maxmemory": str(1 << 30),
        "maxmemory-policy": "allkeys-lru",
    }
    assert asyncio.run(check_sharing(Settings(ledger=ledger.url, cache=cache.url))) == []


def test_the_proxy_passes_bodies_on_as_they_come_and_does_not_repeat_a_purchase() -> None:
    assert COMPOSE["configs"] == {"proxy": {"file": "./Caddyfile"}}
    caddyfile = (ROOT / "Caddyfile").read_text(encoding="utf-8")
    assert caddyfile.count("{") == caddyfile.count("}")
    assert "dynamic a teacher 8000" in caddyfile
    assert not {"lb_retry_match", "request_buffers", "response_buffers", "header_down"} & set(
        caddyfile.split()
    )
    [keepalive_s] = re.findall(r"keepalive (\d+)s", caddyfile)
    assert int(keepalive_s) < uvicorn.Config("").timeout_keep_alive


def test_no_inline_file_is_to_be_put_into_a_read_only_container() -> None:
    assert not any("content" in config for config in COMPOSE.get("configs", {}).values())
