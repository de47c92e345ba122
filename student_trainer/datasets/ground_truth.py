"""The ground truth of a landmark benchmark: which database images each query should find.

In: image names, queries with their boxes, and indices into the database; or a JSON file of them.
Out: a :class:`Benchmark` whose indices, boxes and names have been checked, or the JSON file. No image is
opened, and whether the files are there is for :mod:`student_trainer.datasets.present` to say.

Two protocols are known. The revisited one (Radenovic et al., "Revisiting Oxford and Paris", 2018) grades
every image as easy, hard or junk; the old one (Philbin et al., 2007 and 2008) as ok or junk.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from shared.whole_files import write_whole
from student_trainer.datasets.ground_truth_checks import GRADES, check_benchmark
from student_trainer.errors import InvalidInput, StorageFailed

Box: TypeAlias = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels of the full query image; it may reach a little over the edge."""
Protocol: TypeAlias = Literal["revisited", "old"]

FORMAT = "ration-ground-truth-1"


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
        check_benchmark(self)

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
    return from_document(_read_json(path), path)


def read_if_made_from(path: Path, digest: str) -> Benchmark | None:
    """The benchmark that a JSON file holds, if it was made from the file of this SHA-256 by this version.

    None where it was not, or cannot be read: then it is to be made again.
    """
    try:
        document = _read_json(path)
        same = isinstance(document, dict) and document.get("made_from") == digest
        return from_document(document, path) if same else None
    except InvalidInput:
        return None


def write_ground_truth(benchmark: Benchmark, path: Path, *, made_from: str | None = None) -> None:
    """Write the JSON form; whoever reads meets the whole of it or what was there before.

    Args:
        benchmark: what to write.
        path: the file, in the folder that the image folder is in.
        made_from: SHA-256 of the file that it is converted from.

    Raises:
        StorageFailed: it cannot be written.
    """
    document = {**to_document(benchmark), "made_from": made_from}
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    try:
        write_whole(path, text + "\n")
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


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"The ground truth {path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"The ground truth {path} is cut or no JSON: {error}.") from None


def box_of(values: Iterable[float] | None) -> Box | None:
    """Four numbers as a box, None as none; raises ValueError for any other count."""
    if values is None:
        return None
    numbers = tuple(float(value) for value in values)
    if len(numbers) != 4:
        raise ValueError(f"a box has 4 numbers, found {len(numbers)}")
    return numbers
