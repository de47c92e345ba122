"""A budget by the hour or day over HTTP: what a client is told, and that a new window sells again."""

from collections.abc import Callable
from typing import Any

import pytest

from shared.chain import Link as ChainLink
from shared.chain import Window, verify_chain
from shared.protocol import Header
from teacher_service.access.keys import mint

MIDNIGHT_MS = 1_700_006_400_000
HOUR_MS, DAY_MS = 3_600_000, 86_400_000


class Clock:
    """The ledger's clock, which the tests move."""

    now_ms = MIDNIGHT_MS - 90_500

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture(scope="module")
def served(start_service: Callable[..., Any]) -> Any:
    """A service whose ledger reads a stopped clock."""
    running = start_service()
    running.service.stations.ledger._clock_ms = Clock()
    return running


@pytest.fixture
def clock(served: Any) -> Clock:
    """A minute and a half before midnight."""
    clock: Clock = served.service.stations.ledger._clock_ms
    clock.now_ms = Clock.now_ms
    return clock


def new_key(served: Any, budget: int, window: Window) -> str:
    text, new = mint("test", budget, window=window)
    served.run(served.service.stations.ledger.create_key(new))
    return text


def test_a_spent_window_is_refused_until_the_next_which_sells_again(
    served: Any, clock: Clock, photo: Callable[..., bytes]
) -> None:
    key = new_key(served, 2, "day")
    bought = served.embed(key, photo(1), photo(2))
    assert bought.headers[Header.QUERIES_REMAINING] == "0"
    refused = served.embed(key, photo(3))
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["remaining"]) == (429, "insufficient_quota", 0)
    assert (refused.headers[Header.RETRY_AFTER], refused.headers[Header.SHOULD_RETRY]) == ("91", "false")
    assert "wait 2 min for the next window" in error["message"]

    clock.now_ms = MIDNIGHT_MS
    again = served.embed(key, photo(3))
    assert (again.status_code, again.headers[Header.QUERIES_REMAINING]) == (200, "1")
    account = served.usage(key)
    assert (account["used"], account["used_in_window"], account["remaining"]) == (3, 1, 1)


def test_a_request_larger_than_any_window_is_not_told_to_wait(
    served: Any, clock: Clock, photo: Callable[..., bytes]
) -> None:
    refused = served.embed(new_key(served, 1, "day"), photo(1), photo(2))
    assert refused.status_code == 429
    assert Header.RETRY_AFTER not in refused.headers
    assert "ask for fewer images at once" in refused.json()["error"]["message"]


def test_a_budget_in_total_is_not_told_to_wait(
    served: Any, clock: Clock, photo: Callable[..., bytes]
) -> None:
    key = new_key(served, 1, "total")
    served.embed(key, photo(1))
    refused = served.embed(key, photo(2))
    assert refused.status_code == 429
    assert Header.RETRY_AFTER not in refused.headers


@pytest.mark.parametrize(("window", "length_ms"), [("hour", HOUR_MS), ("day", DAY_MS)])
def test_the_account_names_the_window_and_its_end(served: Any, window: Window, length_ms: int) -> None:
    account = served.usage(new_key(served, 7, window))
    assert (account["budget"], account["window"], account["used_in_window"]) == (7, window, 0)
    assert account["window_ends_at_ms"] % length_ms == 0


def test_the_account_of_a_budget_in_total_has_no_end(served: Any) -> None:
    account = served.usage(new_key(served, 7, "total"))
    assert (account["window"], account["window_ends_at_ms"]) == ("total", None)


def test_the_chain_that_a_key_reads_names_its_window(
    served: Any, clock: Clock, photo: Callable[..., bytes]
) -> None:
    key = new_key(served, 2, "hour")
    served.embed(key, photo(4))
    with served.client(key) as client:
        page = client.get("/v1/ledger").raise_for_status().json()
    account = verify_chain(ChainLink(entry["record"], entry["hash"]) for entry in page["entries"])
    assert (account.window, account.used_in_window, account.remaining) == ("hour", 1, 1)
