"""Exact search of 70 queries in a million descriptors: its time and memory, beside the bare matrix product.

In: nothing. Out: a table on standard output. Each line is measured in a fresh process: the best of a few
runs, with the file in the system's cache, and the peak resident memory of the whole process, libraries and
the database included (VmHWM). The product does nothing but read and multiply the same blocks, as the least
that an exact search has to do.

    python -m benchmarks.search
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.memory import peak_bytes
from student_trainer.evaluate.ranking import rank_blocks
from student_trainer.evaluate.search.blocks import Rows, compared
from student_trainer.evaluate.search.exact import ranks_of, top_k
from student_trainer.evaluate.search.stored import FileRows

QUERIES, DIM, K = 70, 512, 100
DATABASE = 1_000_000
LISTED = 250
"""Graded images of a query, all within the first :data:`BENCHMARK` images, as in the public benchmarks."""
BENCHMARK = 5_000
TARGET_S, TARGET_GB = 3.0, 1.5
REPEATS = 3


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    title: str
    work: str
    dtype: str = "float32"
    in_memory: bool = False


CASES = (
    Case("bare product", "product"),
    Case(f"best {K}", "top_k"),
    Case(f"ranks of {LISTED} listed images", "ranks_of"),
    Case(f"best {K}, float16", "top_k", "float16"),
    Case(f"ranks of {LISTED}, float16", "ranks_of", "float16"),
    Case(f"best {K}, float16 in memory", "top_k", "float16", in_memory=True),
    Case("full ranking, sorted, in memory", "rank", in_memory=True),
)


def run() -> None:
    """Print the table."""
    print(f"{platform.platform()}, {os.cpu_count()} cores, numpy {np.__version__}, {_load()} before")
    print(f"{QUERIES} queries, {DATABASE:,} x {DIM}, float32 in a file unless said; exact\n")
    print(f"{'':<34}{'s':>8}{'of the product':>16}{'peak GB':>10}")
    product_s = None
    with tempfile.TemporaryDirectory() as folder:
        _make_databases(Path(folder))
        for case in CASES:
            best_s, peak_gb = _in_a_fresh_process(case, folder)
            product_s = product_s or best_s
            print(f"{case.title:<34}{best_s:>8.2f}{best_s / product_s:>16.2f}{peak_gb:>10.2f}", flush=True)
    print(f"\nAsked of the search: under {TARGET_S:.0f} s and {TARGET_GB} GB. {_load()} after.")


def _in_a_fresh_process(case: Case, folder: str) -> tuple[float, float]:
    command = [sys.executable, "-m", "benchmarks.search", json.dumps(asdict(case)), folder]
    printed = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    found = json.loads(printed)
    return found["best_s"], found["peak_gb"]


def measure(case: Case, folder: Path) -> tuple[float, float]:
    """Seconds and the peak of this process, which should be fresh, in units of 10^9 bytes."""
    random = np.random.default_rng(1)
    queries = _unit_rows(random, QUERIES)
    listed = [random.choice(BENCHMARK, LISTED, replace=False) for _ in range(QUERIES)]
    file = FileRows(folder / case.dtype, (DATABASE, DIM), np.dtype(case.dtype))
    database: Rows = file[:] if case.in_memory else file
    action: Callable[[], object] = {
        "product": lambda: [None for _ in compared(queries, database)],
        "top_k": lambda: top_k(queries, database, K),
        "ranks_of": lambda: ranks_of(queries, database, listed),
        "rank": lambda: [None for _ in rank_blocks(queries, database[:])],
    }[case.work]
    repeats = 1 if case.work == "rank" else REPEATS
    return min(_seconds(action) for _ in range(repeats)), peak_bytes() / 1e9


def _make_databases(folder: Path) -> None:
    random, part = np.random.default_rng(0), 20_000
    with (folder / "float32").open("wb") as single, (folder / "float16").open("wb") as half:
        for _ in range(0, DATABASE, part):
            rows = _unit_rows(random, part)
            rows.tofile(single)
            rows.astype(np.float16).tofile(half)


def _unit_rows(random: np.random.Generator, count: int) -> np.ndarray:
    rows: np.ndarray = random.standard_normal((count, DIM), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def _seconds(action: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    action()
    return time.perf_counter() - started_s


def _load() -> str:
    return f"load {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        seconds, gigabytes = measure(Case(**json.loads(sys.argv[1])), Path(sys.argv[2]))
        print(json.dumps({"best_s": seconds, "peak_gb": gigabytes}))
    else:
        run()
