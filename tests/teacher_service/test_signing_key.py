"""A ledger goes on under the signing key whose receipts its clients hold, or says that it would not."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis_process import RedisProcess

from teacher_service.metering.ledger import SigningKeyChanged
from teacher_service.service import build_service
from teacher_service.settings import Settings


@pytest.fixture(params=["sqlite", "redis"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    start_redis: Callable[..., RedisProcess] = request.getfixturevalue("start_redis")
    return start_redis().url


async def served(ledger_url: str, data_dir: Path, **changes: Any) -> str:
    """Start and stop a service; its public key."""
    settings = Settings(
        arch="mobilenet_v2-320x0.1", image_size=32, ledger=ledger_url, data_dir=data_dir, **changes
    )
    service = build_service(settings)
    await service.start()
    await service.stop()
    return service.card.public_key


async def story(ledger_url: str, folder: Path) -> None:
    first = await served(ledger_url, folder / "first")
    assert await served(ledger_url, folder / "first") == first
    with pytest.raises(SigningKeyChanged, match=f"signed by {first[:12]}.*Copy signing.key"):
        await served(ledger_url, folder / "second")
    second = await served(ledger_url, folder / "second", accept_new_signing_key=True)
    assert second != first
    assert await served(ledger_url, folder / "second") == second
    with pytest.raises(SigningKeyChanged):
        await served(ledger_url, folder / "first")


def test_a_ledger_is_served_under_another_key_only_if_told_so(ledger_url: str, tmp_path: Path) -> None:
    asyncio.run(story(ledger_url, tmp_path))
