"""Oxford and Paris, revisited and old, from the files that their projects publish.

In: the folder of a benchmark, ``gnd_NAME.pkl`` in it and the images in ``jpg/``. Out: a
:class:`~student_trainer.datasets.ground_truth.Benchmark`.

The pickle is read once, by an unpickler that builds plain data only, and written as ``gnd_NAME.json`` beside
it, which is read from then on. It notes the pickle's SHA-256, so that a pickle that was replaced is read
again. In a folder that takes no writes the pickle is read each time.
"""

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from student_trainer.datasets.ground_truth import (
    Benchmark,
    Protocol,
    QueryTruth,
    box_of,
    read_ground_truth,
    read_if_made_from,
    write_ground_truth,
)
from student_trainer.datasets.ground_truth_checks import GRADES
from student_trainer.datasets.known import missing_set
from student_trainer.datasets.plain_values import decimal_numbers, member, names, whole_numbers
from student_trainer.datasets.restricted_pickle import read_plain_pickle
from student_trainer.errors import InvalidInput, StorageFailed

PREFIX = "gnd_"
MOST_QUERIES, MOST_GRADED = 100_000, 4_000_000
"""The second are images, over all queries. The public ground truths have 70 queries and grade far fewer."""


def open_benchmark(where: Path) -> Benchmark:
    """The benchmark in a folder, or of one of its ground-truth files; written as JSON on the way.

    Args:
        where: a folder that holds one ``gnd_NAME.pkl`` or ``gnd_NAME.json``, or such a file.

    Raises:
        InvalidInput: there is no ground truth (what to download is said), several in one folder, or one that
            cannot be.
    """
    pickled, converted = _files(where)
    if not pickled.is_file():
        return read_ground_truth(converted)
    digest = _digest(pickled)
    known = read_if_made_from(converted, digest)
    if known is not None:
        return known
    benchmark = read_pickled_ground_truth(pickled)
    # In a folder for reading alone the pickle is as good, and slower by a fraction of a second.
    with suppress(StorageFailed):
        write_ground_truth(benchmark, converted, made_from=digest)
    return benchmark


def convert(where: Path) -> tuple[Benchmark, Path]:
    """Write the JSON form anew, whatever is there; arguments as :func:`open_benchmark`.

    Raises:
        InvalidInput: as :func:`open_benchmark`; also no pickle.
        StorageFailed: it cannot be written.
    """
    pickled, converted = _files(where)
    if not pickled.is_file():
        raise InvalidInput(f"There is no {pickled.name} in {pickled.parent} to convert.")
    benchmark = read_pickled_ground_truth(pickled)
    write_ground_truth(benchmark, converted, made_from=_digest(pickled))
    return benchmark, converted


def read_pickled_ground_truth(path: Path) -> Benchmark:
    """The benchmark that ``gnd_NAME.pkl`` holds; its root is the file's folder.

    Which protocol it follows is seen from the grades that it gives.

    Raises:
        InvalidInput: it is refused or damaged, or what it says cannot be.
    """
    content = read_plain_pickle(path)
    gnd = member(content, "gnd", str(path))
    if not isinstance(gnd, list | tuple) or not gnd:
        raise InvalidInput(f"{path}: 'gnd' should list the ground truth of each query, and at least one.")
    graded = sum(map(_graded, gnd))
    if graded > MOST_GRADED or len(gnd) > MOST_QUERIES:
        raise InvalidInput(
            f"{path}: 'gnd' grades {graded:,} images for {len(gnd):,} queries; at most {MOST_GRADED:,} for "
            f"{MOST_QUERIES:,} are read."
        )
    first = gnd[0]
    protocol: Protocol = "old" if isinstance(first, dict) and "ok" in first else "revisited"
    return Benchmark(
        name=path.stem.removeprefix(PREFIX),
        root=path.parent,
        images=names(member(content, "imlist", str(path)), f"{path}: 'imlist'"),
        queries=names(member(content, "qimlist", str(path)), f"{path}: 'qimlist'"),
        ground_truth=tuple(
            _truth(query, protocol, f"{path}: 'gnd' of query {number}") for number, query in enumerate(gnd)
        ),
        protocol=protocol,
    )


def _graded(query: Any) -> int:
    """How many images a query grades, by the lengths: a small file may hold one long list many times."""
    found = [query.get(grade) for grade in ("easy", "hard", "junk", "ok")] if isinstance(query, dict) else []
    return sum(
        graded.size if isinstance(graded, np.ndarray) else len(graded)
        for graded in found
        if isinstance(graded, list | tuple | np.ndarray)
    )


def _truth(query: Any, protocol: Protocol, where: str) -> QueryTruth:
    grades = {
        grade: tuple(sorted(whole_numbers(member(query, grade, where), f"{where}, {grade!r}").tolist()))
        for grade in GRADES[protocol]
    }
    box = query.get("bbx")
    try:
        return QueryTruth(None if box is None else box_of(decimal_numbers(box, f"{where}, 'bbx'")), **grades)
    except ValueError as error:
        raise InvalidInput(f"{where}: {error}.") from None


def _files(where: Path) -> tuple[Path, Path]:
    """The pickle and the JSON file, of which at least one is there."""
    if where.suffix in (".pkl", ".json"):
        stem, folder = where.stem, where.parent
        found = {stem} if where.is_file() else set()
    else:
        folder = where
        found = {path.stem for suffix in ("pkl", "json") for path in where.glob(f"{PREFIX}*.{suffix}")}
    if not found:
        raise missing_set(where)
    if len(found) > 1:
        listed = ", ".join(f"{stem}.pkl" for stem in sorted(found))
        raise InvalidInput(f"{where} holds several ground truths: {listed}. Name one of the files instead.")
    [stem] = found
    return folder / f"{stem}.pkl", folder / f"{stem}.json"


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from None
