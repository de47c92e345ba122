"""Fixtures that every part of the tests may use."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from redis_process import RedisProcess, available

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported, here or in a process that a test starts: several workers share the cores, and
    # threads that wait for each other in turn would stop them all.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes is the machine's affair, which may be busy.
settings.register_profile("ration", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ration")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real photographs: ``RATION_DATA``, or ``../shared/data`` beside the repository.

    It is no part of the project, so tests that ask for it are marked ``data`` and skip where it is absent.
    """
    named = os.environ.get("RATION_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not (folder / "landmarks" / "manifest.csv").is_file():
        pytest.skip(f"no real photographs in {folder}; name their folder in RATION_DATA")
    return folder


@pytest.fixture(scope="session")
def start_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RedisProcess]]:
    """``start_redis(appendfsync="everysec", ...)`` starts a ``redis-server``; all end with the session.

    Without options it is what a ledger needs. Skips where the program is not installed.
    """
    if not available():
        pytest.skip(
            "no redis-server on this machine; install it to run the tests of ledger, cache and rates on Redis"
        )
    servers: list[RedisProcess] = []

    def start(folder: Path | None = None, **options: str) -> RedisProcess:
        server = RedisProcess(folder or tmp_path_factory.mktemp("redis"), **options)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.close()
