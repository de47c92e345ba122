"""A service whose cache and rate limits are on Redis: without the one it serves, without the other not."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis_process import RedisProcess

from shared.protocol import Header
from teacher_service.errors import InvalidArgument

CACHE = {"appendonly": "no", "maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}


@pytest.fixture(scope="module")
def cache(start_redis: Callable[..., RedisProcess]) -> RedisProcess:
    return start_redis(**CACHE)


@pytest.fixture(scope="module")
def rates(start_redis: Callable[..., RedisProcess]) -> RedisProcess:
    return start_redis(**CACHE)


@pytest.fixture(scope="module")
def running(start_service: Any, cache: RedisProcess, rates: RedisProcess) -> Any:
    return start_service(cache=cache.url, rates=rates.url)


def counter(running: Any, name: str) -> float:
    with running.client() as client:
        lines = client.get("/metrics").text.splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))


def test_what_one_key_bought_is_not_computed_for_the_next(running: Any, photo: Callable[..., bytes]) -> None:
    images = [photo(seed) for seed in range(3)]
    first = running.embed(running.key(), *images)
    computed = counter(running, "teacher_batch_images_sum")
    second = running.embed(running.key(), *images, photo(0))
    assert counter(running, "teacher_batch_images_sum") == computed
    assert second.content == first.content + first.content[: len(first.content) // 3]
    assert second.headers[Header.QUERIES_CHARGED] == "3"  # the cache saves computation, never budget


def test_without_its_cache_the_service_serves_and_says_so(
    running: Any, cache: RedisProcess, photo: Callable[..., bytes]
) -> None:
    key = running.key()
    before = counter(running, "teacher_cache_errors_total")
    cache.kill()
    try:
        answer = running.embed(key, photo(10))
        assert (answer.status_code, answer.headers[Header.QUERIES_CHARGED]) == (200, "1")
        assert counter(running, "teacher_cache_errors_total") == before + 1
        with running.client() as client:
            ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "ok")
        assert ready.json()["checks"]["cache"] == "down: everything is computed"
    finally:
        cache.start()


def test_while_rates_cannot_be_counted_a_key_with_a_rate_is_refused_and_not_charged(
    running: Any, rates: RedisProcess, photo: Callable[..., bytes]
) -> None:
    limited, free = running.key(rate="100/minute"), running.key()
    assert running.embed(limited, photo(20)).status_code == 200
    rates.kill()
    try:
        answer = running.embed(limited, photo(21))
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
        assert int(answer.headers["Retry-After"]) > 0
        assert Header.RECEIPT not in answer.headers
        assert (running.usage(limited)["used"], running.usage(limited)["held"]) == (1, 0)
        assert running.embed(free, photo(21)).status_code == 200
        with running.client() as client:
            ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "ok")
        assert ready.json()["checks"]["rates"] == "down: keys with a rate are refused"
    finally:
        rates.start()
    assert running.embed(limited, photo(21)).headers[Header.QUERIES_CHARGED] == "1"


def test_a_service_whose_cache_is_the_ledgers_database_does_not_start(
    start_redis: Callable[..., RedisProcess], data_dir: Path
) -> None:
    ledger = start_redis()
    teacher = ["--arch", "mobilenet_v2-320x0.1", "--image-size", "64", "--port", "0"]
    places = [
        "--data-dir",
        str(data_dir),
        "--ledger",
        ledger.url,
        "--cache",
        f"redis://localhost:{ledger.port}",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "from teacher_service.cli import main; main()", "serve", *teacher, *places],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == InvalidArgument.exit_code, done.stderr
    assert "server of its own with --cache" in done.stderr.splitlines()[-1]
    assert done.stdout == ""
