"""What is left on the key follows from signed receipts alone, in whatever order they arrive."""

import itertools
from typing import Any

import pytest

from shared.chain import Window
from shared.protocol import UsageResponse
from shared.receipts import Receipt
from student_trainer.acquire.balance import Balance

DAY_MS = 86_400_000


def usage(window: Window, *, used: int, used_in_window: int, day: int = 1) -> UsageResponse:
    ends_at_ms = None if window == "total" else (day + 1) * DAY_MS
    return UsageResponse(
        key_id="k1",
        name="test",
        billing="distinct",
        budget=10,
        window=window,
        window_ends_at_ms=ends_at_ms,
        used=used,
        used_in_window=used_in_window,
        held=0,
        remaining=10 - used_in_window,
        rate="",
        teacher_revision="0" * 64,
    )


def receipt(seq: int, charged: int, used_after: int, at_ms: int, budget: int = 10) -> Receipt:
    facts: dict[str, Any] = {
        "seq": seq,
        "charged": charged,
        "used_after": used_after,
        "budget": budget,
        "issued_at_ms": at_ms,
        **{name: "0" * 64 for name in ("ledger_head", "teacher_revision", "delivery_digest")},
    }
    return Receipt(key_id="k1", request_id="r", replayed=0, **facts)


def test_before_the_first_receipt_nothing_is_known() -> None:
    assert Balance(usage("total", used=3, used_in_window=3)).remaining is None


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_budget_in_total_counts_from_the_newest_receipt(order: tuple[int, ...]) -> None:
    balance = Balance(usage("total", used=3, used_in_window=3))
    receipts = [receipt(seq, 2, 3 + 2 * seq, at_ms=seq) for seq in (1, 2, 3)]
    for index in order:
        balance.count(receipts[index])
    assert (balance.remaining, balance.window_ends_at_ms) == (1, None)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_a_day_that_begins_in_the_middle_begins_with_the_whole_budget(order: tuple[int, ...]) -> None:
    """5 of the day's 10 were used before the fetch; it spends 3 more, then 2 and 4 after midnight."""
    balance = Balance(usage("day", used=105, used_in_window=5))
    receipts = [
        receipt(1, 1, 106, at_ms=2 * DAY_MS - 2),
        receipt(2, 2, 108, at_ms=2 * DAY_MS - 1),
        receipt(3, 2, 110, at_ms=2 * DAY_MS),
        receipt(4, 4, 114, at_ms=2 * DAY_MS + 1),
    ]
    for index in order:
        balance.count(receipts[index])
    assert balance.remaining == 4
    assert balance.window_ends_at_ms == 3 * DAY_MS


def test_what_was_used_in_the_first_window_before_the_fetch_counts() -> None:
    balance = Balance(usage("day", used=105, used_in_window=5))
    balance.count(receipt(1, 1, 106, at_ms=DAY_MS))
    assert balance.remaining == 4


def test_a_grant_in_between_counts() -> None:
    balance = Balance(usage("day", used=0, used_in_window=0))
    balance.count(receipt(1, 1, 1, at_ms=DAY_MS))
    balance.count(receipt(3, 1, 2, at_ms=DAY_MS, budget=30))
    assert balance.remaining == 28
