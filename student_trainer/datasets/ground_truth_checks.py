"""What a benchmark must fulfil before anything is measured on it.

In: a benchmark as it was read. Out: nothing, or :class:`~student_trainer.errors.InvalidInput` that names the
query and the value.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from student_trainer.datasets.plain_values import fits_a_path
from student_trainer.errors import InvalidInput

if TYPE_CHECKING:
    from student_trainer.datasets.ground_truth import Benchmark, Box, QueryTruth

NAMED = 5
"""Offenders that a message names."""
_MOST_CHARACTERS = 100
"""Of a name in a message."""
GRADES: dict[str, tuple[str, ...]] = {"revisited": ("easy", "hard", "junk"), "old": ("ok", "junk")}
"""What each protocol calls the images that it lists for a query; all others are negatives."""


def check_benchmark(benchmark: "Benchmark") -> None:
    """Check names, indices, grades and boxes.

    Raises:
        InvalidInput: as :class:`~student_trainer.datasets.ground_truth.Benchmark` says.
    """
    _check_names(benchmark)
    for number, (query, truth) in enumerate(zip(benchmark.queries, benchmark.ground_truth, strict=True)):
        where = f"{benchmark.name}: query {number} ({query[:_MOST_CHARACTERS]})"
        _check_grades(truth, benchmark.protocol, len(benchmark.images), where)
        _check_box(truth.box, where)


def _check_names(benchmark: "Benchmark") -> None:
    name, images, queries = benchmark.name, benchmark.images, benchmark.queries
    if benchmark.protocol not in GRADES:
        raise InvalidInput(f"{name}: there is no protocol {benchmark.protocol!r}; know revisited and old.")
    if not images or not queries:
        raise InvalidInput(
            f"{name}: {len(images):,} database images and {len(queries):,} queries are listed."
        )
    if len(queries) != len(benchmark.ground_truth):
        raise InvalidInput(
            f"{name}: {len(queries):,} queries are listed, but {len(benchmark.ground_truth):,} have a ground "
            "truth."
        )
    unwritable = [text for text in (name, benchmark.folder, benchmark.suffix) if not _is_writable(text)]
    _refuse(
        [repr(text) for text in unwritable],
        "names of a data set, a folder or an ending that no file can have",
    )
    _refuse(
        [repr(image) for image in (*images, *queries) if not stays_inside(image)],
        f"{name}: names that are empty, leave the folder or cannot be written",
    )
    _refuse(_repeated(images), f"{name}: images listed twice in the database")
    # One photograph may ask twice with two boxes, as in the old protocol; the same box twice is one query.
    boxes = (truth.box for truth in benchmark.ground_truth)
    _refuse(
        _repeated([f"{query} {box}" for query, box in zip(queries, boxes, strict=True)]),
        f"{name}: queries listed twice",
    )
    if benchmark.protocol == "revisited":
        known = set(images)
        _refuse([query for query in queries if query in known], f"{name}: queries that stand in the database")


def _check_grades(truth: "QueryTruth", protocol: str, images: int, where: str) -> None:
    seen: dict[int, str] = {}
    for grade in ("easy", "hard", "junk", "ok"):
        indices: Sequence[int] = getattr(truth, grade)
        if indices and grade not in GRADES[protocol]:
            raise InvalidInput(f"{where}: the {protocol} protocol knows no grade {grade!r}.")
        for index in indices:
            if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < images:
                raise InvalidInput(
                    f"{where}: {grade} holds the index {index!r}; the database has images 0 to "
                    f"{images - 1:,}. The ground truth and the list of images are not of the same data set."
                )
            if index in seen:
                raise InvalidInput(f"{where}: image {index} is graded {seen[index]} and {grade}.")
            seen[index] = grade


def _check_box(box: "Box | None", where: str) -> None:
    if box is None:
        return
    x1, y1, x2, y2 = box
    if not all(map(math.isfinite, box)) or x2 <= max(x1, 0) or y2 <= max(y1, 0):
        raise InvalidInput(
            f"{where}: the box {box} has no area within an image; it is x1, y1, x2, y2 in pixels, "
            "x1 < x2 and y1 < y2."
        )


def _is_writable(text: str) -> bool:
    """The folder and the ending may be empty."""
    return not text or fits_a_path(text)


def stays_inside(name: object) -> bool:
    if not isinstance(name, str) or not fits_a_path(name):
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _refuse(offenders: Sequence[str], what: str) -> None:
    if offenders:
        named = ", ".join(offender[:_MOST_CHARACTERS] for offender in offenders[:NAMED])
        more = f" and {len(offenders) - NAMED:,} more" if len(offenders) > NAMED else ""
        raise InvalidInput(f"{what}: {len(offenders):,}, {named}{more}.")
