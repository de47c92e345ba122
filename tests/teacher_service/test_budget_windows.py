"""A budget by the hour or day over HTTP: what a client is told, and that a new window sells again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.chain import Link as ChainLink
from shared.chain import Window, verify_chain
from shared.images import ImageLimits
from shared.protocol import Header
from student_trainer.acquire import session
from student_trainer.acquire.audit import audit
from student_trainer.acquire.client import Access
from student_trainer.acquire.fetch import Outcome
from student_trainer.acquire.plan import decide, take_stock
from student_trainer.acquire.records import PlanFacts
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.datasets.manifest import scan_folder
from student_trainer.run_folder import RunFolder
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


def test_the_trainer_buys_a_plan_of_three_days_and_certifies_it(
    served: Any, clock: Clock, photo: Callable[..., bytes], tmp_path: Path
) -> None:
    """7 images at 3 a day, in requests of 2: the last query of each day is bought alone."""
    images, run = tmp_path / "images", tmp_path / "run"
    images.mkdir()
    for seed in range(7):
        (images / f"{seed}.png").write_bytes(photo(seed))
    access = Access(served.address, new_key(served, 3, "day"))
    decide(run, take_stock(scan_folder(images), ImageLimits()), 7, PlanFacts("random", 0, "test"))
    spent = []
    with TransferSet.open(RunFolder(run).transfer_set) as transfer_set:
        while not transfer_set.summary().complete:
            outcome = fetch(transfer_set, access)
            spent.append((outcome.charged, outcome.remaining))
            clock.now_ms += DAY_MS
        certificate = audit(transfer_set, *session.ledger(access))
    assert spent == [(3, 0), (3, 0), (1, 2)]
    assert "7 queries spent by key" in certificate.statement
    assert "(budget 3/day) for 7 distinct images" in certificate.statement


def fetch(transfer_set: TransferSet, access: Access) -> Outcome:
    """What ``student-trainer fetch --yes --batch 2`` does."""
    return session.fetch(
        transfer_set,
        access,
        session.quote(transfer_set, access),
        session.FetchSettings(batch=2),
        on_progress=lambda images, outcome: None,
        on_wait=lambda reason, wait_s: None,
    )
