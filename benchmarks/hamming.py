"""Exact Hamming search of 1,000 queries in a million codes of 64 bits: its time and memory, by threads.

In: nothing. Out: a table on standard output. Each line is measured in a fresh process, after a call that
compiles: the best of a few runs, and the peak resident memory of the whole process, libraries and the codes
included (VmHWM). Counting distances does nothing but compare every query with every code, as the least that
an exact search has to do; the same in numpy, ``bitwise_count`` and ``bincount``, stands beside it.

    python -m benchmarks.hamming
"""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.memory import peak_bytes

QUERIES, DATABASE, BITS, CLASSES, LABELS = 1_000, 1_000_000, 64, 10, 21
NUMPY_QUERIES = 20
"""Its time is for so many, and is multiplied."""
TARGET_S = 10.0
REPEATS = 3


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    title: str
    work: str
    threads: int = 1


CASES = (
    Case("counting distances, numpy", "numpy"),
    Case("counting distances", "count"),
    Case("counting distances", "count", 2),
    Case("best 100", "best 100"),
    Case("best 100", "best 100", 2),
    Case("best 5,000", "best 5000", 2),
    Case("mAP, one label each", "map"),
    Case("mAP, one label each", "map", 2),
    Case(f"mAP and mAP@5,000, {LABELS} labels", "map several", 2),
)


def run() -> None:
    """Print the table."""
    print(f"{platform.platform()}, {os.cpu_count()} cores, numpy {np.__version__}, {_load()} before")
    print(f"{QUERIES:,} queries, {DATABASE:,} codes of {BITS} bits, in memory; exact\n")
    print(f"{'':<36}{'threads':>8}{'s':>8}{'peak GB':>10}")
    for case in CASES:
        best_s, peak_gb = _in_a_fresh_process(case)
        print(f"{case.title:<36}{case.threads:>8}{best_s:>8.2f}{peak_gb:>10.2f}", flush=True)
    print(f"\nAsked of the search: under {TARGET_S:.0f} s on 2 cores. {_load()} after.")


def _in_a_fresh_process(case: Case) -> tuple[float, float]:
    command = [sys.executable, "-m", "benchmarks.hamming", json.dumps(asdict(case))]
    printed = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    found = json.loads(printed)
    return found["best_s"], found["peak_gb"]


def measure(case: Case, database: int = DATABASE, queries: int = QUERIES) -> tuple[float, float]:
    """Seconds and the peak of this process, which should be fresh, in units of 10^9 bytes."""
    import torch

    torch.set_num_threads(case.threads)
    random = np.random.default_rng(0)
    left, right = (random.integers(0, 256, (n, BITS // 8), np.uint8) for n in (queries, database))
    action = _action(case.work, left, right, random)
    if case.work == "numpy":
        return _seconds(action) * queries / min(NUMPY_QUERIES, queries), peak_bytes() / 1e9
    _action(case.work, left[:2], right[:10_000], random)()  # compiles
    return min(_seconds(action) for _ in range(REPEATS)), peak_bytes() / 1e9


def _action(
    work: str, left: np.ndarray, right: np.ndarray, random: np.random.Generator
) -> Callable[[], object]:
    from student_trainer.evaluate.hamming.precision import tie_aware_ap, tie_aware_ap_at_k
    from student_trainer.evaluate.hamming.search import count_by_distance, nearest
    from student_trainer.evaluate.relevance import SameLabel, SharedLabel

    one = SameLabel(np.zeros(len(left), np.int64), np.zeros(len(right), np.int64))
    classes = SameLabel(*(random.integers(0, CLASSES, len(side)) for side in (left, right)))
    bits = [random.integers(0, 1 << LABELS, (len(side), 1)).astype(np.uint64) for side in (left, right)]

    def score(relevance: SameLabel | SharedLabel, *k: int) -> None:
        counts = count_by_distance(left, right, BITS, relevance)
        images, relevant = counts.sum(axis=1), counts[:, 1]
        tie_aware_ap(images, relevant)
        for cut in k:
            tie_aware_ap_at_k(images, relevant, cut)

    actions: dict[str, Callable[[], object]] = {
        "numpy": lambda: _count_in_numpy(left[:NUMPY_QUERIES], right),
        "count": lambda: count_by_distance(left, right, BITS, one),
        "best 100": lambda: nearest(left, right, BITS, min(100, len(right))),
        "best 5000": lambda: nearest(left, right, BITS, min(5_000, len(right))),
        "map": lambda: score(classes),
        "map several": lambda: score(SharedLabel(*bits), 5_000),
    }
    return actions[work]


def _count_in_numpy(left: np.ndarray, right: np.ndarray) -> None:
    words = right.view(np.uint64)[:, 0]
    for query in left.view(np.uint64)[:, 0]:
        np.bincount(np.bitwise_count(query ^ words), minlength=BITS + 1)


def _seconds(action: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    action()
    return time.perf_counter() - started_s


def _load() -> str:
    return f"load {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        seconds, gigabytes = measure(Case(**json.loads(sys.argv[1])))
        print(json.dumps({"best_s": seconds, "peak_gb": gigabytes}))
    else:
        run()
