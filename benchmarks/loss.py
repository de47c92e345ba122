"""The rank distillation loss, forward and backward: the fast form beside the dense form of the paper.

In: nothing. Out: a table on standard output. Each line is measured in a fresh process, one after the other:
a small batch warms up and compiles; then the growth of the peak resident memory (VmHWM; on a GPU, of what
PyTorch allocates there) over one whole call, then the best time of a few more calls, on the same
descriptors. The dense form is given its rounds one at a time, each followed by its backward pass: all at
once they would need ten times the memory.

Much of the dense form's time goes into fresh pages for its arrays of 400 MB, so it is also measured with
an allocator that keeps its pages.

    python -m benchmarks.loss
"""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from student_trainer.distil.descriptors import similarities
from student_trainer.distil.rank_loss import rank_distillation_loss

ROUNDS, TEACHER_DIM, STUDENT_DIM = 10, 2048, 512
LAM, TAU = 0.4, 0.75
PLACES = 50
KEEP_PAGES = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=100000000000"
_MIB = 1 << 20


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    title: str
    backend: str
    images: int = 1000
    bins: int = 25
    repeats: int = 5
    keep_pages: bool = False
    device: str = "cpu"


CASES = (
    Case("reference", "reference", repeats=1),
    Case("reference, pages kept", "reference", repeats=1, keep_pages=True),
    Case("torch", "torch"),
    Case("cpu", "cpu", repeats=20),
    Case("cpu, C=5", "cpu", bins=5, repeats=20),
    Case("cpu, C=100", "cpu", bins=100, repeats=20),
    Case("cpu, C=400", "cpu", bins=400, repeats=20),
    Case("torch, B=4000", "torch", images=4000, repeats=1),
    Case("cpu, B=4000", "cpu", images=4000, repeats=2),
)
GPU_CASES = (
    Case("reference", "reference", repeats=3, device="cuda"),
    Case("torch", "torch", device="cuda"),
    Case("triton", "triton", repeats=50, device="cuda"),
    Case("triton, C=5", "triton", bins=5, repeats=50, device="cuda"),
    Case("triton, C=400", "triton", bins=400, repeats=50, device="cuda"),
    Case("triton, B=4000", "triton", images=4000, device="cuda"),
)


@dataclass(frozen=True)
class Measured:
    """What a fresh process found out about a case."""

    best_s: float
    peak_mib: float
    loss_error: float
    """Distance from the loss in float64."""
    gradient_error: float
    """Norm of the difference from the gradient in float64, relative to its norm."""


def run() -> None:
    """Print the table, and another one if there is a GPU."""
    print(f"{platform.platform()}, {_processor()}, {torch.get_num_threads()} threads")
    print(f"torch {torch.__version__}, float32, teacher {TEACHER_DIM}-d, student {STUDENT_DIM}-d")
    print(f"B={CASES[0].images}, R={ROUNDS}, C={CASES[0].bins} unless said")
    _print_table(CASES)
    print(f"Products of matrices alone: {_products_s('cpu') * 1e3:,.1f} ms.")
    if torch.cuda.is_available():
        print(f"\n{torch.cuda.get_device_name()}")
        _print_table(GPU_CASES)
        print(f"Products of matrices alone: {_products_s('cuda') * 1e3:,.3f} ms.")
    print(
        "\nPeak: above inputs and libraries. Errors: from the torch form in float64, which the tests hold to"
    )
    print("the dense form within 1e-12. Products: both Gram matrices, and coefficients times descriptors.")


def _print_table(cases: Sequence[Case]) -> None:
    columns = f"{'ms':>10}{'faster':>9}{'peak MiB':>10}{'smaller':>9}{'loss error':>12}{'gradient error':>16}"
    print(f"\n{'backend':<24}{columns}")
    dense: Measured | None = None
    for case in cases:
        found = _in_a_fresh_process(case)
        dense = dense or found
        same_work = case.images == cases[0].images and case.bins == cases[0].bins
        faster = f"{dense.best_s / found.best_s:.1f}x" if same_work else ""
        smaller = f"{dense.peak_mib / found.peak_mib:.1f}x" if same_work else ""
        print(
            f"{case.title:<24}{found.best_s * 1e3:>10,.1f}{faster:>9}{found.peak_mib:>10,.0f}{smaller:>9}"
            f"{found.loss_error:>12.0e}{found.gradient_error:>16.1e}",
            flush=True,
        )


def _products_s(device: str) -> float:
    """The least that any form has to do: best of some runs, with PyTorch's threads as they are."""
    student, teacher, _ = (part.to(device) for part in descriptors(CASES[0].images))
    coefficients = torch.rand(len(student), len(student), device=device)

    def products() -> None:
        similarities(teacher)
        similarities(student)
        torch.mm(coefficients, student)

    return min(_seconds(products, device) for _ in range(20))


def _in_a_fresh_process(case: Case) -> Measured:
    environment = dict(os.environ)
    if case.backend != "cpu":
        # OpenMP's threads are tied to cores: two spinning ones on one core would wait for each other. The
        # compiled loops have threads of their own, which would inherit the one core of the first.
        environment["OMP_PROC_BIND"] = "true"
    if case.keep_pages:
        environment["GLIBC_TUNABLES"] = KEEP_PAGES
    command = [sys.executable, "-m", "benchmarks.loss", json.dumps(asdict(case))]
    answer = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return Measured(**json.loads(answer.stdout))


def measure(case: Case) -> Measured:
    """Measure a case in this process, which should be fresh."""
    solve(case, *descriptors(8))
    data = tuple(part.to(case.device) for part in descriptors(case.images))
    peak_mib, (loss, gradient) = _peak_mib(case.device, lambda: solve(case, *data))
    best_s = min(_seconds(lambda: solve(case, *data), case.device) for _ in range(case.repeats))
    exact = Case("", "torch", bins=case.bins, device=case.device)
    true_loss, truth = solve(exact, data[0].double(), data[1].double(), data[2])
    error = ((gradient - truth).norm() / truth.norm()).item()
    return Measured(best_s, peak_mib, abs(loss - true_loss), error)


def _peak_mib(device: str, action: Callable[[], Any]) -> tuple[float, Any]:
    """How much memory of the device an action needs on top of what is in use, and its result."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        result = action()
        return (torch.cuda.max_memory_allocated() - before) / _MIB, result
    before_mib = _memory_mib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # start the peak again from here
    result = action()
    return _memory_mib("VmHWM") - before_mib, result


def descriptors(images: int) -> tuple[Tensor, Tensor, Tensor]:
    """A student that knows a little of the teacher, the teacher of a few places, and partners."""
    random = torch.Generator().manual_seed(0)
    places = torch.randn(PLACES, TEACHER_DIM, generator=random)
    shown = torch.randint(PLACES, (images,), generator=random)
    teacher = places[shown] + 0.6 * torch.randn(images, TEACHER_DIM, generator=random)
    student = teacher @ torch.randn(TEACHER_DIM, STUDENT_DIM, generator=random) / STUDENT_DIM**0.5
    student += student.std() * torch.randn(images, STUDENT_DIM, generator=random)
    return student, teacher, torch.randint(images, (ROUNDS, images), generator=random)


def solve(case: Case, student: Tensor, teacher: Tensor, partners: Tensor) -> tuple[float, Tensor]:
    """Forward and backward once: the loss, and its gradient in the student's descriptors."""
    student = student.detach().to(case.device).requires_grad_()
    teacher, partners = teacher.to(case.device), partners.to(case.device)
    steps = torch.split(partners, 1) if case.backend == "reference" else [partners]
    total = torch.zeros((), device=case.device)
    for some in steps:
        loss = rank_distillation_loss(student, teacher, some, LAM, TAU, bins=case.bins, backend=case.backend)
        torch.autograd.backward(loss / len(steps))
        total = total + loss.detach() / len(steps)
    assert student.grad is not None
    return total.item(), student.grad


def _seconds(action: Callable[[], object], device: str) -> float:
    started_s = time.perf_counter()
    action()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started_s


def _memory_mib(field: str) -> float:
    """A field of Linux's account of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / _MIB
    raise LookupError(f"/proc/self/status has no {field}; this benchmark needs Linux.")


def _processor() -> str:
    models = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    return models[0].partition(": ")[2] if models else platform.processor()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(asdict(measure(Case(**json.loads(sys.argv[1]))))))
    else:
        run()
