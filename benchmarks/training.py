"""The training step: its memory against the batch size, and the share of its time outside the trunk.

In: nothing. Out: two tables on standard output. Memory is measured in a fresh process for each line, as the
peak of anonymous memory (without the memory-mapped images, which the operating system may drop).

    python -m benchmarks.training
"""

import json
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image

from shared.allocator import keep_pages
from shared.images import Preprocessing
from student_trainer.distil import backward
from student_trainer.distil.batches import BatchSource
from student_trainer.distil.data import TrainingData
from student_trainer.distil.images import digest_files, open_store
from student_trainer.distil.objectives import Objective
from student_trainer.distil.preflight import make_objective
from student_trainer.distil.push import Push
from student_trainer.distil.schedule import Moment
from student_trainer.distil.state import TrainingState
from student_trainer.distil.step import take_step
from student_trainer.distil.student import build_student, calibrate
from student_trainer.recipe import Recipe, load

ARCH = "mobilenet_v2-320"
LONGEST_SIDE_PX = 128
CHUNK = 32
BATCHES = (64, 256, 1024)
DIRECT_BATCHES = (64, 256)
"""For comparison: the whole batch as one chunk."""
TIMED_BATCH = 1000
"""The paper's."""
REPEATS = 3
DISTINCT_IMAGES = 64
TEACHER_DIM = 2048
_SAMPLE_EVERY_S = 0.002


def run() -> None:
    """Print both tables."""
    keep_pages()  # as the commands do
    print(f"{platform.platform()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{ARCH}, {LONGEST_SIDE_PX} px, rank-mixup with R=10, teacher {TEACHER_DIM}-d\n")
    print(f"{'batch':>6} {'chunk':>6} {'peak MiB above the idle process':>32}")
    for batch, chunk in [*((b, CHUNK) for b in BATCHES), *((b, b) for b in DIRECT_BATCHES)]:
        note = "  (one chunk: the direct backward)" if batch == chunk else ""
        print(f"{batch:>6} {chunk:>6} {_peak_in_a_fresh_process(batch, chunk):>32,.0f}{note}", flush=True)
    print(f"\nA step with B={TIMED_BATCH}, chunks of {CHUNK}, and the share of it that is not the trunk's")
    print("forward, forward and backward (smallest of a few steps):")
    print(f"  {_outside_the_trunk()}")


def _outside_the_trunk() -> str:
    """Of the step with the smallest share outside the trunk; the first warms up."""
    with _scratch_run() as folder:
        state, source, objective, moment = prepare(folder, TIMED_BATCH, CHUNK)
        found = [watched_step(state, source, objective, moment) for _ in range(REPEATS + 1)]
    total_s, parts_s = min(found[1:], key=lambda times: 1 - times[1]["trunk"] / times[0])
    rest = {name: seconds / total_s for name, seconds in parts_s.items() if name != "trunk"}
    outside = 1 - parts_s["trunk"] / total_s
    named = ", ".join(f"{name} {share:.2%}" for name, share in rest.items())
    unnamed = outside - sum(rest.values())
    return f"{total_s:.2f} s, {outside:.2%} outside the trunk ({named}, all else {unnamed:.2%})"


def watched_step(
    state: TrainingState, source: BatchSource, objective: Objective, moment: Moment
) -> tuple[float, dict[str, float]]:
    """Seconds of a step, and of its parts: trunk, loss, Adam."""
    spent: dict[str, float] = defaultdict(float)

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            started_s = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent[name] += time.perf_counter() - started_s

        return call

    forward = state.student.forward
    with (
        patch.object(Push, "__call__", timed("trunk", Push.__call__)),
        patch.object(
            state.student, "forward", lambda x: timed("trunk", forward)(x) if _stage_one() else forward(x)
        ),
        patch.object(backward, "loss_and_gradient", timed("loss", backward.loss_and_gradient)),
        patch.object(state.optimiser, "step", timed("Adam", state.optimiser.step)),
    ):
        started_s = time.perf_counter()
        take_step(state, moment, source, objective)
        return time.perf_counter() - started_s, dict(spent)


def _stage_one() -> bool:
    """The first forward has no graph; the second is timed together with the backward."""
    return not torch.is_grad_enabled()


def _peak_in_a_fresh_process(batch: int, chunk: int) -> float:
    command = [sys.executable, "-m", "benchmarks.training", str(batch), str(chunk)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(json.loads(printed)["peak_mib"])


def _peak_of_a_step(batch: int, chunk: int) -> float:
    """MiB by which a step's peak exceeds the process with student and optimiser in it."""
    with _scratch_run() as folder:
        state, source, objective, moment = prepare(folder, batch, chunk)
        warm_up = Moment(1, 1, moment.batch[:2], 1e-4, False)
        take_step(state, warm_up, source, objective)  # Adam's own state, and the libraries' buffers
        idle = _anonymous_mib()
        peak, done = [idle], threading.Event()

        def watch() -> None:
            while not done.wait(_SAMPLE_EVERY_S):
                peak.append(_anonymous_mib())

        watcher = threading.Thread(target=watch)
        watcher.start()
        take_step(state, moment, source, objective)
        done.set()
        watcher.join()
    return max(peak) - idle


def _anonymous_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this benchmark reads /proc/self/status: it needs Linux")


def prepare(folder: Path, batch: int, chunk: int) -> tuple[TrainingState, BatchSource, Objective, Moment]:
    """A student ready for a step on ``batch`` images, of which ``DISTINCT_IMAGES`` are different."""
    recipe = _recipe()
    rng = np.random.default_rng(0)
    paths = []
    for n in range(min(batch, DISTINCT_IMAGES)):
        paths.append(folder / f"{n}.png")
        shape = (LONGEST_SIDE_PX, LONGEST_SIDE_PX * 3 // 4, 3)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(paths[-1])
    sources = tuple(digest_files(paths[n % len(paths)] for n in range(batch)))
    vectors = rng.standard_normal((batch, TEACHER_DIM)).astype(np.float32)
    data = TrainingData(sources, teacher=vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    preprocessing = Preprocessing(LONGEST_SIDE_PX)
    store = open_store(folder / "cache", sources, preprocessing)
    student = build_student(recipe)
    calibrate(student, store, preprocessing, seed=0)  # or its features fade into denormals, which are slow
    state = TrainingState.fresh(recipe, student, torch.device("cpu"))
    source = BatchSource(store, data, preprocessing, chunk, torch.device("cpu"))
    return state, source, make_objective(recipe), Moment(1, 1, np.arange(batch), 1e-4, False)


def _recipe() -> Recipe:
    return load(
        "quick-cpu",
        [f"student.arch={ARCH}", "student.weights=random", f"images.longest_side_px={LONGEST_SIDE_PX}"],
    )


@contextmanager
def _scratch_run() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        keep_pages()  # as the commands do
        print(json.dumps({"peak_mib": _peak_of_a_step(int(sys.argv[1]), int(sys.argv[2]))}))
    else:
        run()
