"""Sharing out rows among threads: every row once, errors raised, PyTorch's own threads as before."""

import threading
from collections.abc import Iterator

import pytest
import torch

from student_trainer.distil.rank_loss.row_threads import RowThreads


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("step", [None, 1, 128, 5000])
@pytest.mark.parametrize("rows", [1, 17, 400, 1001])
def test_every_row_is_worked_on_once(rows: int, step: int | None) -> None:
    lock, seen = threading.Lock(), []

    def work(start: int, stop: int) -> None:
        with lock:
            seen.extend(range(start, stop))

    with RowThreads(rows) as threads:
        threads.run(work, step)
        assert sorted(seen) == list(range(rows))
        threads.run(work, step)
    assert len(seen) == 2 * rows


def test_a_step_that_is_asked_for_does_not_depend_on_the_threads() -> None:
    ranges = set()
    with RowThreads(1000) as threads:
        assert threads.count == 3
        threads.run(lambda start, stop: ranges.add((start, stop)), 300)
    assert ranges == {(0, 300), (300, 600), (600, 900), (900, 1000)}


def test_several_threads_work_at_the_same_time() -> None:
    all_here = threading.Barrier(3, timeout=60)
    with RowThreads(384) as threads:
        threads.run(lambda start, stop: all_here.wait(), 128)


def test_few_rows_are_not_shared_out() -> None:
    names = set()
    with RowThreads(64) as threads:
        threads.run(lambda start, stop: names.add(threading.current_thread().name), 1)
    assert names == {threading.current_thread().name}


def test_pytorch_has_one_thread_meanwhile_and_then_as_many_as_before() -> None:
    with RowThreads(400) as threads:
        counts = set()
        threads.run(lambda start, stop: counts.add(torch.get_num_threads()), 100)
    assert counts == {1}
    assert torch.get_num_threads() == 3


def test_an_error_in_a_thread_is_raised_and_leaves_nothing_behind() -> None:
    def work(start: int, stop: int) -> None:
        raise ValueError(f"rows from {start}")

    before = threading.active_count()
    with pytest.raises(ValueError, match="rows from"), RowThreads(400) as threads:
        threads.run(work)
    assert torch.get_num_threads() == 3 and threading.active_count() == before
