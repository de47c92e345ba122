"""Whether the images that a data set lists are there, before anything depends on it.

In: paths. Out: those that are missing, or an error that counts them and names the first five.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from student_trainer.datasets.ground_truth import Benchmark
from student_trainer.datasets.ground_truth_checks import NAMED
from student_trainer.errors import InvalidInput


def missing_files(paths: Sequence[Path], on_looked: Callable[[], None] = lambda: None) -> list[Path]:
    """Those of ``paths`` where no file is, or an empty one, in their order."""
    missing = []
    for path in paths:
        if not _has_content(path):
            missing.append(path)
        on_looked()
    return missing


def require_files(paths: Sequence[Path], source: str) -> None:
    """Refuse to go on without some of ``paths``.

    Raises:
        InvalidInput: some are missing or empty; their number, and the first five.
    """
    missing = missing_files(paths)
    if missing:
        raise InvalidInput(
            f"{in_words(missing, len(paths), source)}\nPut them there: student-trainer datasets says where "
            "they come from."
        )


def require_images(benchmark: Benchmark) -> None:
    """Refuse to evaluate on a part of a benchmark: the numbers would not be comparable.

    Raises:
        InvalidInput: images of database or queries are missing or empty; their number, and the first five.
    """
    paths = dict.fromkeys([*benchmark.image_paths, *benchmark.query_paths])
    require_files(list(paths), benchmark.name)


def in_words(missing: Sequence[Path], of: int, source: str) -> str:
    """``2 of 12 images of roxford5k are missing or empty:`` and the first five, a line each."""
    named = "\n  ".join(str(path) for path in missing[:NAMED])
    more = f"\n  and {len(missing) - NAMED:,} more" if len(missing) > NAMED else ""
    return f"{len(missing):,} of {of:,} images of {source} are missing or empty:\n  {named}{more}"


def _has_content(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:
        return False
