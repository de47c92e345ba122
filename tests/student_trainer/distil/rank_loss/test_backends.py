"""The choice of a backend: by where the descriptors are, and by what is installed."""

import subprocess
import sys
from typing import Any

import pytest
import torch

from student_trainer.distil.average_precision import Bins
from student_trainer.distil.rank_loss import backends, cpu, in_torch
from student_trainer.distil.rank_loss.backends import pick_backend, triton_is_interpreted
from student_trainer.distil.rank_loss.problem import RankProblem
from student_trainer.errors import InvalidInput


def problem(device: str = "cpu") -> RankProblem:
    rows = torch.eye(3, device=device)
    partners = torch.zeros(1, 3, dtype=torch.long, device=device)
    return RankProblem(rows, rows, partners, 0.3, 0.75, Bins(), True, True, False)


def asked(monkeypatch: pytest.MonkeyPatch, module: Any) -> list[RankProblem]:
    """The problems that a module's ``rank_loss`` is given."""
    problems: list[RankProblem] = []

    def rank_loss(given: RankProblem) -> torch.Tensor:
        problems.append(given)
        return torch.zeros(())

    monkeypatch.setattr(module, "rank_loss", rank_loss)
    return problems


def test_on_a_processor_auto_takes_the_compiled_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    by_loops, given = asked(monkeypatch, cpu), problem()
    pick_backend("auto")(given)
    assert by_loops == [given]


def test_without_numba_auto_takes_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    by_torch, given = asked(monkeypatch, in_torch), problem()
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    pick_backend("auto")(given)
    assert by_torch == [given]


def test_on_another_device_auto_takes_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    by_torch, given = asked(monkeypatch, in_torch), problem("meta")
    pick_backend("auto")(given)
    assert by_torch == [given]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_auto_takes_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    from student_trainer.distil.rank_loss import triton_gpu

    by_triton, given = asked(monkeypatch, triton_gpu), problem("cuda")
    pick_backend("auto")(given)
    assert by_triton == [given]


@pytest.mark.parametrize(
    ("backend", "device", "message"),
    [
        pytest.param("cpu", "meta", "'cpu' got descriptors on meta. Choose auto, triton or torch"),
        pytest.param(
            "triton",
            "cpu",
            "'triton' needs a GPU, but the descriptors are on cpu. Choose auto, cpu or torch",
            marks=pytest.mark.skipif(triton_is_interpreted(), reason="the interpreter needs no GPU"),
        ),
    ],
)
def test_a_backend_for_another_device_is_refused(backend: str, device: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        pick_backend(backend)(problem(device))


def test_a_backend_whose_compiler_is_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "student_trainer.distil.rank_loss.cpu", None)
    monkeypatch.delattr("student_trainer.distil.rank_loss.cpu", raising=False)
    with pytest.raises(InvalidInput, match=r"'cpu' needs numba: .*Install it, or choose torch"):
        pick_backend("cpu")(problem())
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setitem(sys.modules, "student_trainer.distil.rank_loss.triton_gpu", None)
    monkeypatch.delattr("student_trainer.distil.rank_loss.triton_gpu", raising=False)
    with pytest.raises(InvalidInput, match=r"'triton' needs Triton: .*Choose auto or torch"):
        pick_backend("triton")(problem())


def test_the_compilers_are_not_loaded_before_they_are_needed() -> None:
    program = "import sys, student_trainer.distil.objectives.rank; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = answer.stdout.split()
    assert "torch" in loaded and not {"numba", "triton"} & set(loaded)
