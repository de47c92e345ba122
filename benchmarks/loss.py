"""The rank distillation loss, forward and backward: the fast form beside the dense form of the paper.

In: nothing. Out: a table on standard output. Each line is measured in a fresh process, one after the other:
a small batch warms up; then the growth of the peak resident memory (VmHWM) over one whole call, then the best
time of a few more calls, on the same descriptors. The dense form is given its rounds one at a time, each
followed by its backward pass: all at once they would need ten times the memory.

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
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

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


CASES = (
    Case("reference", "reference", repeats=1),
    Case("reference, pages kept", "reference", repeats=1, keep_pages=True),
    Case("torch", "torch"),
    Case("torch, C=200", "torch", bins=200),
    Case("torch, B=4000", "torch", images=4000, repeats=2),
)


@dataclass(frozen=True)
class Measured:
    """What a fresh process found out about a case."""

    best_s: float
    peak_mib: float
    gradient_error: float
    """Norm of the difference from the gradient in float64, relative to its norm."""


def run() -> None:
    """Print the table."""
    print(f"{platform.platform()}, {_processor()}, {torch.get_num_threads()} threads")
    print(f"torch {torch.__version__}, float32, teacher {TEACHER_DIM}-d, student {STUDENT_DIM}-d")
    print(f"B={CASES[0].images}, R={ROUNDS}, C={CASES[0].bins} unless said\n")
    print(f"{'backend':<24}{'ms':>10}{'faster':>10}{'peak MiB':>11}{'smaller':>10}{'gradient error':>17}")
    dense: Measured | None = None
    for case in CASES:
        found = _in_a_fresh_process(case)
        dense = dense or found
        same_work = case.images == CASES[0].images and case.bins == CASES[0].bins
        faster = f"{dense.best_s / found.best_s:.1f}x" if same_work else ""
        smaller = f"{dense.peak_mib / found.peak_mib:.1f}x" if same_work else ""
        print(
            f"{case.title:<24}{found.best_s * 1e3:>10,.0f}{faster:>10}{found.peak_mib:>11,.0f}{smaller:>10}"
            f"{found.gradient_error:>17.1e}",
            flush=True,
        )
    print("\nPeak: above inputs and libraries. Error: against the fast form in float64, which the tests hold")
    print("to the dense form in float64 within 1e-12.")


def _in_a_fresh_process(case: Case) -> Measured:
    # Threads are tied to cores: two spinning threads on one core would wait for each other.
    environment = os.environ | {"OMP_PROC_BIND": "true"}
    if case.keep_pages:
        environment["GLIBC_TUNABLES"] = KEEP_PAGES
    command = [sys.executable, "-m", "benchmarks.loss", json.dumps(asdict(case))]
    answer = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return Measured(**json.loads(answer.stdout))


def measure(case: Case) -> Measured:
    """Measure a case in this process, which should be fresh."""
    gradient_of(case, *descriptors(8))
    data = descriptors(case.images)
    before_mib = _memory_mib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # start the peak again from here
    gradient = gradient_of(case, *data)
    peak_mib = _memory_mib("VmHWM") - before_mib
    best_s = min(_seconds(lambda: gradient_of(case, *data)) for _ in range(case.repeats))
    truth = gradient_of(Case("", "torch", bins=case.bins), data[0].double(), data[1].double(), data[2])
    error = ((gradient - truth).norm() / truth.norm()).item()
    return Measured(best_s, peak_mib, error)


def descriptors(images: int) -> tuple[Tensor, Tensor, Tensor]:
    """A student that knows a little of the teacher, the teacher of a few places, and partners."""
    random = torch.Generator().manual_seed(0)
    places = torch.randn(PLACES, TEACHER_DIM, generator=random)
    shown = torch.randint(PLACES, (images,), generator=random)
    teacher = places[shown] + 0.6 * torch.randn(images, TEACHER_DIM, generator=random)
    student = teacher @ torch.randn(TEACHER_DIM, STUDENT_DIM, generator=random) / STUDENT_DIM**0.5
    student += student.std() * torch.randn(images, STUDENT_DIM, generator=random)
    return student, teacher, torch.randint(images, (ROUNDS, images), generator=random)


def gradient_of(case: Case, student: Tensor, teacher: Tensor, partners: Tensor) -> Tensor:
    """Forward and backward once; the gradient in the student's descriptors."""
    student = student.detach().requires_grad_()
    steps = partners.split(1) if case.backend == "reference" else [partners]
    for some in steps:
        loss = rank_distillation_loss(student, teacher, some, LAM, TAU, bins=case.bins, backend=case.backend)
        (loss / len(steps)).backward()
    assert student.grad is not None
    return student.grad


def _seconds(action: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    action()
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
