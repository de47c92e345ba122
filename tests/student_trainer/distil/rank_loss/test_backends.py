"""The choice of a backend: by where the descriptors are, and by what is installed."""

import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from student_trainer.distil.average_precision import Bins
from student_trainer.distil.rank_loss import backends, cpu, in_torch
from student_trainer.distil.rank_loss.backends import OLDEST_GPU, pick_backend, triton_is_interpreted
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


@pytest.fixture(autouse=True)
def _nothing_known_of_compilers() -> Iterator[None]:
    loads = backends._loads
    loads.cache_clear()
    yield
    loads.cache_clear()


class OnAGPU:
    """A problem, as far as the choice looks at it; the GPU need not be there."""

    student = SimpleNamespace(device=torch.device("cuda"))


def unimportable(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """As where its compiler is missing, or is there and refuses."""
    monkeypatch.setitem(sys.modules, f"student_trainer.distil.rank_loss.{form}", None)
    monkeypatch.delattr(f"student_trainer.distil.rank_loss.{form}", raising=False)


def test_on_a_processor_auto_takes_the_compiled_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    by_loops, given = asked(monkeypatch, cpu), problem()
    pick_backend("auto")(given)
    assert by_loops == [given]


def test_where_numba_is_missing_or_refuses_auto_takes_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    by_torch, given = asked(monkeypatch, in_torch), problem()
    unimportable(monkeypatch, "cpu")
    pick_backend("auto")(given)
    assert by_torch == [given]


def test_on_a_gpu_where_triton_is_missing_or_refuses_auto_takes_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by_torch, given = asked(monkeypatch, in_torch), OnAGPU()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: OLDEST_GPU)
    unimportable(monkeypatch, "triton_gpu")
    pick_backend("auto")(given)
    assert by_torch == [given]


@pytest.mark.parametrize(("capability", "chosen"), [(OLDEST_GPU, "triton"), ((6, 1), "torch")])
def test_on_a_gpu_that_is_too_old_for_triton_auto_takes_torch(
    capability: tuple[int, int], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(backends, "_loads", lambda form: True)
    monkeypatch.setattr(backends, "_triton", lambda given: "triton")
    monkeypatch.setattr(in_torch, "rank_loss", lambda given: "torch")
    assert pick_backend("auto")(OnAGPU()) == chosen


def test_a_compiler_that_refuses_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def refusing(name: str) -> ModuleType:
        tried.append(name)
        raise ImportError("Numba needs NumPy 2.4 or less. Got NumPy 9.9.")

    by_torch = asked(monkeypatch, in_torch)
    monkeypatch.setattr(backends, "import_module", refusing)
    for _ in range(3):
        pick_backend("auto")(problem())
    assert (len(by_torch), tried) == (3, ["student_trainer.distil.rank_loss.cpu"])


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
    unimportable(monkeypatch, "cpu")
    with pytest.raises(InvalidInput, match=r"'cpu' needs numba: .*Install it, or choose torch"):
        pick_backend("cpu")(problem())
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    unimportable(monkeypatch, "triton_gpu")
    with pytest.raises(InvalidInput, match=r"'triton' needs Triton: .*Choose auto or torch"):
        pick_backend("triton")(problem())


def test_the_compilers_are_not_loaded_before_they_are_needed() -> None:
    program = "import sys, student_trainer.distil.objectives.rank; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = answer.stdout.split()
    assert "torch" in loaded and not {"numba", "triton"} & set(loaded)
