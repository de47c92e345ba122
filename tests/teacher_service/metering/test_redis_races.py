"""What a replica makes of an answer of Redis that was overtaken on its way."""

from collections.abc import Callable
from typing import Any

import pytest


def test_an_account_whose_answer_is_overtaken_by_a_settlement_is_not_taken_for_a_rolled_back_store(
    make_redis_desk: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account was read before the settlement, and arrives after it: older than what was seen since."""
    desk = make_redis_desk()
    key = desk.new_key()
    client = desk.ledger._connection.client
    read = client.hgetall

    async def overtaken(name: str) -> Any:
        account = await read(name)
        reservation = desk.reservation(key, "new")
        hold = await desk.ledger.reserve(reservation)
        await desk.ledger.settle(hold, dict.fromkeys(reservation.images, "1" * 64))
        return account

    with monkeypatch.context() as slow:
        slow.setattr(client, "hgetall", overtaken)
        assert desk.account(key).used == 0
    assert desk.account(key).used == 1
