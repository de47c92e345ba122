"""The ground truth of a landmark benchmark: which database images each query should find.

In: image names, queries with their boxes, and indices into the database; or a JSON file of them.
Out: a :class:`Benchmark` whose indices, boxes and names have been checked, or the JSON file. No image is
opened, and whether the files are there is for :mod:`student_trainer.datasets.present` to say.

Two protocols are known. The revisited one (Radenovic et al., "Revisiting Oxford and Paris", 2018) grades
every image as easy, hard or junk; the old one (Philbin et al., 2007 and 2008) as ok or junk.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeAlias, get_args

from student_trainer.errors import InvalidInput, StorageFailed

Box: TypeAlias = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels of the full query image; it may reach a little over the edge."""
Protocol: TypeAlias = Literal["revisited", "old"]

FORMAT = "ration-ground-truth-1"
NAMED = 5
"""Offenders that a message names."""
GRADES: dict[Protocol, tuple[str, ...]] = {"revisited": ("easy", "hard", "junk"), "old": ("ok", "junk")}
"""What each protocol calls the images that it lists for a query; all others are negatives."""


@dataclass(frozen=True, slots=True)
class QueryTruth:
    """The graded database images of one query, each list in ascending order of database index.

    Queries of the revisited protocol use ``easy``, ``hard`` and ``junk``, those of the old one ``ok`` and
    ``junk``; what a protocol does not know is empty.
    """

    box: Box | None = None
    """The part of the query image that asks; None asks with all of it."""
    easy: tuple[int, ...] = ()
    hard: tuple[int, ...] = ()
    junk: tuple[int, ...] = ()
    ok: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Database, queries and what each query should find.

    Raises:
        InvalidInput: no images or no queries, names that repeat or leave the folder, an index outside the
            database or graded twice for a query, grades of the other protocol, or a box without an area.
    """

    name: str
    root: Path
    """The folder that holds the folder of images."""
    images: tuple[str, ...]
    """N names of the database; every index counts in this order."""
    queries: tuple[str, ...]
    """Q names of query images."""
    ground_truth: tuple[QueryTruth, ...]
    """Q, in the order of ``queries``."""
    protocol: Protocol = "revisited"
    folder: str = "jpg"
    suffix: str = ".jpg"

    def __post_init__(self) -> None:
        _check_names(self)
        for query, truth in enumerate(self.ground_truth):
            where = f"{self.name}: query {query} ({self.queries[query]})"
            _check_grades(truth, self.protocol, len(self.images), where)
            _check_box(truth.box, where)

    @property
    def image_paths(self) -> tuple[Path, ...]:
        """N files of the database, whether they are there or not."""
        return tuple(self._path(name) for name in self.images)

    @property
    def query_paths(self) -> tuple[Path, ...]:
        """Q files of the queries, whether they are there or not."""
        return tuple(self._path(name) for name in self.queries)

    def _path(self, name: str) -> Path:
        return self.root / self.folder / f"{name}{self.suffix}"


def read_ground_truth(path: Path) -> Benchmark:
    """The benchmark that a JSON file holds; its root is the file's folder.

    Raises:
        InvalidInput: there is no such file, it is not of this form, or what it says cannot be.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"The ground truth {path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"The ground truth {path} is cut or no JSON: {error}.") from None
    return from_document(document, path)


def write_ground_truth(benchmark: Benchmark, path: Path) -> None:
    """Write the JSON form; whoever reads meets the whole of it or what was there before.

    Raises:
        StorageFailed: it cannot be written.
    """
    text = json.dumps(to_document(benchmark), ensure_ascii=False, separators=(",", ":"))
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise StorageFailed(f"The ground truth {path} cannot be written: {error.strerror}.") from None


def to_document(benchmark: Benchmark) -> dict[str, Any]:
    """Plain JSON; where the images lie is left to where the file lies."""
    grades = GRADES[benchmark.protocol]
    return {
        "format": FORMAT,
        "name": benchmark.name,
        "protocol": benchmark.protocol,
        "folder": benchmark.folder,
        "suffix": benchmark.suffix,
        "images": list(benchmark.images),
        "queries": [
            {"name": name, "box": truth.box, **{grade: getattr(truth, grade) for grade in grades}}
            for name, truth in zip(benchmark.queries, benchmark.ground_truth, strict=True)
        ],
    }


def from_document(document: Any, path: Path) -> Benchmark:
    """The inverse of :func:`to_document`, for a file at ``path``.

    Raises:
        InvalidInput: it is not of this form, or what it says cannot be.
    """
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise InvalidInput(f"{path} is no ground truth: its format is {found!r}, expected {FORMAT!r}.")
    try:
        protocol = document["protocol"]
        grades = GRADES[protocol]
        queries = document["queries"]
        return Benchmark(
            name=str(document["name"]),
            root=path.parent,
            images=tuple(document["images"]),
            queries=tuple(query["name"] for query in queries),
            ground_truth=tuple(
                QueryTruth(box_of(query["box"]), **{grade: tuple(query[grade]) for grade in grades})
                for query in queries
            ),
            protocol=protocol,
            folder=str(document["folder"]),
            suffix=str(document["suffix"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(
            f"{path} is no ground truth of the form {FORMAT}: {type(error).__name__}: {error}. "
            "Delete it and convert the pickle again: student-trainer datasets convert."
        ) from None


def box_of(values: Iterable[float] | None) -> Box | None:
    """Four numbers as a box, None as none; raises ValueError for any other count."""
    if values is None:
        return None
    numbers = tuple(float(value) for value in values)
    if len(numbers) != 4:
        raise ValueError(f"a box has 4 numbers, found {len(numbers)}")
    return numbers


def _check_names(benchmark: Benchmark) -> None:
    name, images, queries = benchmark.name, benchmark.images, benchmark.queries
    if benchmark.protocol not in get_args(Protocol):
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
    _refuse([repr(image) for image in (*images, *queries) if not _stays_inside(image)], f"{name}: bad names")
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


def _check_grades(truth: QueryTruth, protocol: Protocol, images: int, where: str) -> None:
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


def _check_box(box: Box | None, where: str) -> None:
    if box is None:
        return
    x1, y1, x2, y2 = box
    if not all(map(math.isfinite, box)) or x2 <= max(x1, 0) or y2 <= max(y1, 0):
        raise InvalidInput(
            f"{where}: the box {box} has no area within an image; it is x1, y1, x2, y2 in pixels, "
            "x1 < x2 and y1 < y2."
        )


def _stays_inside(name: object) -> bool:
    if not isinstance(name, str) or not name or "\0" in name:
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _refuse(offenders: Sequence[str], what: str) -> None:
    if offenders:
        more = f" and {len(offenders) - NAMED:,} more" if len(offenders) > NAMED else ""
        raise InvalidInput(f"{what}: {len(offenders):,}, {', '.join(offenders[:NAMED])}{more}.")
