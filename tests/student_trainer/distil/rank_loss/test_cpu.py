"""The compiled loops: the same bits on any number of threads, beside other callers and after a fork."""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from student_trainer.distil.rank_loss import rank_distillation_loss
from student_trainer.distil.rank_loss.rows import FixedPoint

ROOT = Path(__file__).parents[4]


def solve(images: int = 600, dtype: torch.dtype = torch.float32, **options: Any) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(images)
    student = torch.randn(images, 20, dtype=dtype, generator=random).requires_grad_()
    teacher = torch.randn(images, 5, dtype=dtype, generator=random)
    partners = torch.randint(images, (2, images), generator=random)
    options = {"tau": 0.5, "backend": "cpu"} | options
    loss = rank_distillation_loss(student, teacher, partners, 0.3, **options)
    loss.backward()
    assert student.grad is not None and student.grad.norm() > 0
    return loss.detach(), student.grad


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("grad_through_mixed", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_bit_is_the_same_on_any_number_of_threads(dtype: torch.dtype, grad_through_mixed: bool) -> None:
    found = []
    for threads in (1, 2, 4, 4):
        torch.set_num_threads(threads)
        found.append(solve(dtype=dtype, grad_through_mixed=grad_through_mixed))
    for loss, gradient in found[1:]:
        assert torch.equal(loss, found[0][0]) and torch.equal(gradient, found[0][1])


def test_several_callers_at_once_find_what_each_finds_alone() -> None:
    torch.set_num_threads(2)
    sizes = [256, 300, 400, 512] * 3
    alone = {images: solve(images) for images in set(sizes)}
    with ThreadPoolExecutor(4) as callers:
        for images, (loss, gradient) in zip(sizes, callers.map(solve, sizes), strict=True):
            assert torch.equal(loss, alone[images][0]) and torch.equal(gradient, alone[images][1])


def _loss_in_a_child(answers: Any) -> None:
    answers.put(solve(300)[0].item())


def _work_fork_and_work_again() -> None:
    torch.set_num_threads(2)
    here = solve(300)[0].item()
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_loss_in_a_child, args=(answers,), daemon=True)
    child.start()
    assert answers.get(timeout=60) == here
    child.join(60)
    assert child.exitcode == 0


def test_it_works_in_a_forked_process_after_it_worked_in_its_parent() -> None:
    """In a process of its own: one that runs tests has threads of other libraries, which no fork survives."""
    program = [sys.executable, __file__]
    here = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(program, env=here, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("low", [-1.0, 0.0])
def test_the_most_bins_are_as_exact_as_few(low: float) -> None:
    options = {"images": 40, "dtype": torch.float64, "bins": 10_000, "low": low}
    found, expected = solve(**options), solve(**options, backend="torch")
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(found[1], expected[1], rtol=1e-8, atol=1e-9 * expected[1].abs().max().item())


@given(listed=st.integers(2, 400_000), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_a_full_table_overflows_neither_of_its_sums(listed: int, dtype: torch.dtype) -> None:
    fixed = FixedPoint.of(listed, dtype)
    one = 1 << fixed.digits
    total = listed * ((1 << fixed.shift) + one)
    assert total < 1 << 63
    assert total >> fixed.shift == listed and total & ((1 << fixed.shift) - 1) == listed * one


def test_sums_of_float32_lose_nothing_and_those_of_float64_nearly_nothing() -> None:
    assert FixedPoint.of(2 * 100_000, torch.float32).digits == 24
    assert FixedPoint.of(2 * 1000, torch.float64).digits == 41
    assert FixedPoint.of(2 * 10, torch.float64).digits == 52


if __name__ == "__main__":
    _work_fork_and_work_again()
