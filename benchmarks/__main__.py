"""Run every benchmark in turn; one that fails is reported, and the others still run.

In: nothing, or names of benchmarks as arguments. Out: their tables; exit code 1 if one failed.
"""

import importlib
import sys
import time
import traceback
from collections.abc import Sequence

BENCHMARKS = (
    "allocator",
    "extraction",
    "hamming",
    "ledger",
    "loss",
    "objectives",
    "search",
    "serving",
    "training",
)


def main(names: Sequence[str]) -> int:
    """Run the benchmarks of these names, or all of them; the exit code."""
    failed = [name for name in names or BENCHMARKS if not _succeeds(name)]
    if failed:
        print(f"\nFailed: {', '.join(failed)}; see the tracebacks above.", file=sys.stderr)
    return 1 if failed else 0


def _succeeds(name: str) -> bool:
    print(f"\n== {name} ==", flush=True)
    started_s = time.perf_counter()
    try:
        importlib.import_module(f"benchmarks.{name}").run()
    except Exception:
        traceback.print_exc()
        return False
    print(f"({time.perf_counter() - started_s:.0f} s)", flush=True)
    return True


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
