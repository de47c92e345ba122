"""What the benchmarks rest on: a desk that fails leaves nothing open, and what is told is told of all."""

import asyncio
from pathlib import Path

import pytest
import torch

from benchmarks.hamming import CASES, Case, measure
from benchmarks.ledger_desk import open_desk
from benchmarks.ledger_targets import Target, print_targets
from benchmarks.objectives import label_free
from benchmarks.training import prepare, watched_step
from teacher_service.metering.archive import LedgerNotEmpty
from teacher_service.metering.ledger import LedgerUnavailable
from teacher_service.metering.sqlite.store import SqliteLedger


def test_a_desk_charges_once_for_each_of_its_images(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        ledger = SqliteLedger(tmp_path / "ledger.sqlite")
        with open_desk(runner, ledger, clients=4, events=10) as desk:
            assert desk.charges_per_s(20) > 0
            assert desk.charges_per_s(20) > 0
            (key,) = runner.run(ledger.keys())
            assert (key.used, key.held) == (50, 0)


def test_a_ledger_that_cannot_be_filled_is_closed_all_the_same(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    with asyncio.Runner() as runner:
        with open_desk(runner, SqliteLedger(file), clients=1):
            pass
        ledger = SqliteLedger(file)
        with pytest.raises(LedgerNotEmpty), open_desk(runner, ledger, 1, events=1):
            pass
        with pytest.raises(LedgerUnavailable, match="not open"):
            runner.run(ledger.ping())


def test_a_target_is_met_by_what_it_asks_for_and_missed_by_less(capsys: pytest.CaptureFixture[str]) -> None:
    print_targets([Target("as asked", 4.0, 4.0), Target("less", 99_999.0, 100_000.0)])
    header, met, missed = capsys.readouterr().out.strip().splitlines()
    assert header.split() == ["target", "at", "least", "measured"]
    assert met.split() == ["as", "asked", "4.00", "4.00", "met"]
    assert missed.split() == ["less", "100,000", "99,999", "missed"]


def test_the_cost_of_every_objective_is_measured_that_needs_no_more_than_bought_descriptors() -> None:
    found = set(label_free())
    assert {"rank", "regression", "relative", "rkd", "rkd-angle", "darkrank-soft", "pkt", "csd"} <= found
    assert not {"ap", "contrastive", "asym-contrastive", "triplet"} & found


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.title}, {case.threads}")
def test_every_line_of_hamming_search_is_measured(case: Case) -> None:
    threads = torch.get_num_threads()
    try:
        seconds, gigabytes = measure(case, database=300, queries=3)
    finally:
        torch.set_num_threads(threads)
    assert 0 < seconds < 10 and 0 < gigabytes < 100


def test_the_parts_of_a_training_step_are_timed_inside_it(tmp_path: Path) -> None:
    total_s, parts_s = watched_step(*prepare(tmp_path, batch=4, chunk=2))
    assert set(parts_s) == {"trunk", "loss", "Adam"}
    assert all(seconds > 0 for seconds in parts_s.values())
    assert sum(parts_s.values()) < total_s
