"""What a replica makes of an answer of Redis that was overtaken on its way."""

from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio.connection import Connection

from teacher_service.metering.ledger import LedgerUnavailable


def test_an_account_whose_answer_is_overtaken_by_a_settlement_is_not_taken_for_a_rolled_back_store(
    make_redis_desk: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account was read before the settlement, and arrives after it: older than what was seen since."""
    desk = make_redis_desk()
    key = desk.new_key()
    connection = desk.ledger._connection
    read = connection.read

    async def overtaken(*command: Any) -> Any:
        account = await read(*command)
        reservation = desk.reservation(key, "new")
        hold = await desk.ledger.reserve(reservation)
        await desk.ledger.settle(hold, dict.fromkeys(reservation.images, "1" * 64))
        return account

    with monkeypatch.context() as slow:
        slow.setattr(connection, "read", overtaken)
        assert desk.account(key).used == 0
    assert desk.account(key).used == 1


def test_a_connection_that_breaks_before_it_is_used_makes_the_ledger_unavailable_and_no_more(
    make_redis_desk: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvloop raises RuntimeError there, where other loops raise OSError; every caller must be told."""
    desk = make_redis_desk()
    key = desk.new_key()

    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("unable to perform operation on a closed transport; the handler is closed")

    with monkeypatch.context() as network:
        network.setattr(Connection, "send_packed_command", broken)
        for work in (
            desk.ledger.reserve(desk.reservation(key, "new")),
            desk.ledger.key(key),
            desk.ledger.keys(),
        ):
            with pytest.raises(LedgerUnavailable, match="handler is closed"):
                desk.run(work)
    assert desk.buy(key, "new").charged == 1
