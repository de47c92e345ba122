"""What one call of an objective costs with its gradient: time, and memory at its peak.

In: an objective, the size of a batch, both dimensions. Out: both numbers, measured in a process of its own on
random descriptors, so that what other calls left in memory does not hide what this one takes.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from shared.allocator import keep_pages
from shared.extraction import pick_device
from student_trainer.distil import objectives
from student_trainer.errors import TrainingFailed

IMAGES_A_LABEL = 4
_TURNS = 5
_WARM_UP_IMAGES = 16
_MIB = 2**20
_FIXED_THRESHOLDS = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
"""glibc then gives every tensor back as soon as it is free, and the next one shows in the peak. That takes up
to ten times as long, so time is measured without."""
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class LossShape:
    """A call."""

    objective: str
    settings: dict[str, Any]
    images: int
    student_dim: int
    teacher_dim: int
    device: str = "auto"
    threads: int = 1


@dataclass(frozen=True)
class LossCost:
    """What it took."""

    milliseconds: float
    """Median of several calls, after one that did not count."""
    mebibytes: float | None
    """Beside what was there before the call; None where the system does not tell."""


def loss_cost(shape: LossShape) -> LossCost:
    """Measure a call, with its gradient, in processes of its own: one for the time, one for the memory.

    Raises:
        TrainingFailed: the objective cannot take such a batch; the message is its own.
    """
    return LossCost(_in_a_process(shape, "time", {}), _in_a_process(shape, "memory", _FIXED_THRESHOLDS))


def _in_a_process(shape: LossShape, what: str, allocator: dict[str, str]) -> Any:
    found = subprocess.run(  # noqa: S603 - this module
        [sys.executable, "-m", "student_trainer.trials.loss_cost", what],
        input=json.dumps(asdict(shape)),
        env={**os.environ, **allocator, "OMP_NUM_THREADS": str(shape.threads)},
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        reason = (found.stderr.strip().splitlines() or [f"exit status {found.returncode}"])[-1]
        raise TrainingFailed(f"The cost of {shape.objective} cannot be measured: {reason}")
    return json.loads(found.stdout)


def _measure(shape: LossShape, what: str) -> float | None:
    """One of the two in this process: milliseconds or mebibytes."""
    torch.set_num_threads(shape.threads)
    device = pick_device(shape.device)
    objective = objectives.get(shape.objective)(**shape.settings)
    call, warm_up = (_call(objective, shape, images, device) for images in (shape.images, _WARM_UP_IMAGES))
    warm_up()
    if what == "memory":
        peak = _peak_bytes(call, device)
        return None if peak is None else peak / _MIB
    call()
    times_s = []
    for _ in range(_TURNS):
        started_s = time.perf_counter()
        call()
        times_s.append(time.perf_counter() - started_s)
    return 1000 * median(times_s)


def _call(
    objective: objectives.Objective, shape: LossShape, images: int, device: torch.device
) -> Callable[[], None]:
    """A call on one random batch: groups of images that are alike, as labels and teacher have it."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(images) // IMAGES_A_LABEL

    def rows(dim: int) -> Tensor:
        centres = torch.randn(int(labels.max()) + 1, dim, generator=generator)
        rows = centres[labels] + 0.5 * torch.randn(images, dim, generator=generator)
        return torch.nn.functional.normalize(rows).to(device)

    student, teacher = rows(shape.student_dim).requires_grad_(), rows(shape.teacher_dim)

    def call() -> None:
        student.grad = None
        torch.autograd.backward(objective(student, teacher, labels.to(device)))
        if device.type == "cuda":
            torch.cuda.synchronize()

    return call


def _peak_bytes(call: Callable[[], None], device: torch.device) -> int | None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return torch.cuda.max_memory_allocated() - before
    if not _RESET.exists():
        call()
        return None
    _RESET.write_text("5")  # the peak so far is forgotten
    before = _status_bytes("VmRSS")
    call()
    return max(0, _status_bytes("VmHWM") - before)


def _status_bytes(name: str) -> int:
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(lines[name].split()[0]) * 1024


if __name__ == "__main__":
    keep_pages()  # as the commands do; not where memory is measured, whose allocator has settings
    print(json.dumps(_measure(LossShape(**json.loads(sys.stdin.read())), sys.argv[1])))
