"""What a data set on disk holds, and what of it is missing or cannot be right.

In: the folder of a benchmark, of SfM-120k or of a set of labelled images. Out: plain JSON and its text, for
:func:`student_trainer.output.emit`.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

from PIL import Image

from student_trainer.datasets.ground_truth import Benchmark
from student_trainer.datasets.image_list import listed_distractors, read_image_list
from student_trainer.datasets.known import DISTRACTORS, KNOWN, SFM120K
from student_trainer.datasets.labelled.catalogue import LABELLED, find_labelled, labelled_in
from student_trainer.datasets.labelled.opening import list_labelled
from student_trainer.datasets.labelled.split import LabelledSplit, names_of
from student_trainer.datasets.present import in_words, missing_files
from student_trainer.datasets.revisited import open_benchmark
from student_trainer.datasets.sfm120k import SPLITS, SfmSplit, open_sfm120k

Result: TypeAlias = tuple[dict[str, Any], str]


@dataclass(frozen=True)
class Found:
    """A data set, whichever it is."""

    name: str
    files: tuple[Path, ...]
    """Each image once."""
    benchmark: Benchmark | None = None
    splits: tuple[SfmSplit, ...] = ()
    labelled: tuple[LabelledSplit, ...] = ()


def open_any(where: Path) -> Found:
    """The benchmark, the training set, the distractors or the labelled images in a folder.

    Raises:
        InvalidInput: none is there, or what is there cannot be used.
    """
    if where.name == SFM120K or (where / KNOWN[SFM120K].index_file).is_file():
        splits = tuple(open_sfm120k(where, split) for split in SPLITS)
        return Found(
            SFM120K, tuple(dict.fromkeys(path for split in splits for path in split.paths)), None, splits
        )
    if (name := labelled_in(where)) is not None:
        return _open_labelled(where, name)
    listed = listed_distractors(where)
    if listed is not None:
        return Found(DISTRACTORS, tuple(entry.path for entry in read_image_list(listed)))
    benchmark = open_benchmark(where)
    files = tuple(dict.fromkeys([*benchmark.image_paths, *benchmark.query_paths]))
    return Found(benchmark.name, files, benchmark)


def describe(found: Found) -> Result:
    """Counts of what the data set says, without looking at an image."""
    if found.benchmark is not None:
        return _describe_benchmark(found.benchmark)
    if found.labelled:
        return _describe_labelled(found)
    if not found.splits:
        count = len(found.files)
        return {"name": found.name, "images": count}, f"{found.name}: {count:,} images are listed."
    splits = {
        split.name: {
            "images": len(split.cids),
            "distinct_images": len(set(split.cids)),
            "clusters": len(set(split.clusters.tolist())),
            "pairs": len(split.pairs),
        }
        for split in found.splits
    }
    lines = [
        f"{found.name}, split {name}: {counts['images']:,} images ({counts['distinct_images']:,} distinct) "
        f"in {counts['clusters']:,} clusters, {counts['pairs']:,} matching pairs."
        for name, counts in splits.items()
    ]
    return {"name": found.name, "splits": splits}, "\n".join(lines)


def check(found: Found, on_looked: Callable[[], None] = lambda: None) -> Result:
    """Which files are missing, which queries cannot be opened, and whether the counts are the public ones.

    The result's ``complete`` says whether everything is there and as published. Boxes that reach over the
    edge of their image are named and no fault: the crop is then filled up with black.
    """
    missing = missing_files(found.files, on_looked)
    unreadable, outside = _boxes(found.benchmark, missing)
    differs = _differs(found)
    result = {
        "name": found.name,
        "files": len(found.files),
        "missing": [str(path) for path in missing],
        "unreadable": unreadable,
        "boxes_outside": outside,
        "differs": differs,
        "complete": not missing and not unreadable and not differs,
    }
    lines = [
        in_words(missing, len(found.files), found.name)
        if missing
        else f"{found.name}: all {len(found.files):,} {_kind(found)} are there.",
        *(f"This query is no image: {query}" for query in unreadable),
        *(f"A box reaches over the edge of its image: {query}" for query in outside),
        *differs,
    ]
    return result, "\n".join(lines)


def _open_labelled(where: Path, name: str) -> Found:
    folder = find_labelled(where, name)
    splits = tuple(list_labelled(folder, name, split) for split in LABELLED[name].splits)
    return Found(
        name, tuple(dict.fromkeys(file for split in splits for file in split.files)), labelled=splits
    )


def _describe_labelled(found: Found) -> Result:
    splits = {
        split.split: {
            **asdict(split.counts),
            "labels_per_image": sum(len(names_of(entry.label)) for entry in split.entries) / len(split),
        }
        for split in found.labelled
    }
    lines = [f"{split.words}: {split.counts.in_words()}." for split in found.labelled]
    return {"name": found.name, "splits": splits}, "\n".join(lines)


def _describe_benchmark(benchmark: Benchmark) -> Result:
    grades = {
        grade: [len(getattr(truth, grade)) for truth in benchmark.ground_truth]
        for grade in (("easy", "hard", "junk") if benchmark.protocol == "revisited" else ("ok", "junk"))
    }
    result = {
        "name": benchmark.name,
        "root": str(benchmark.root),
        "protocol": benchmark.protocol,
        "images": len(benchmark.images),
        "queries": len(benchmark.queries),
        "boxes": sum(truth.box is not None for truth in benchmark.ground_truth),
        "grades": {
            grade: {
                "least": min(counts),
                "median": median(counts),
                "most": max(counts),
                "none": counts.count(0),
            }
            for grade, counts in grades.items()
        },
    }
    lines = [
        f"{benchmark.name} ({benchmark.protocol} protocol): {len(benchmark.images):,} database images, "
        f"{len(benchmark.queries):,} queries, {result['boxes']:,} of them with a box.",
        *(
            f"  {grade}: {min(counts):,} to {max(counts):,} images a query, median {median(counts):,g}; "
            f"none for {counts.count(0):,} queries"
            for grade, counts in grades.items()
        ),
    ]
    return result, "\n".join(lines)


def _boxes(benchmark: Benchmark | None, missing: Sequence[Path]) -> tuple[list[str], list[str]]:
    """Query images that cannot be opened, and those whose box leaves them; by the images' headers."""
    unreadable, outside = [], []
    absent = set(missing)
    queries = () if benchmark is None else zip(benchmark.query_paths, benchmark.ground_truth, strict=True)
    for path, truth in queries:
        if path in absent:
            continue
        size = _size(path)
        if size is None:
            unreadable.append(str(path))
        elif truth.box and (min(truth.box) < 0 or truth.box[2] > size[0] or truth.box[3] > size[1]):
            outside.append(f"{path} has {size[0]} x {size[1]} pixels, the box is {truth.box}")
    return unreadable, outside


def _kind(found: Found) -> str:
    """What its files are: some sets hold many images in one."""
    return "files" if any(split.arrays_in for split in found.labelled) else "images"


def _size(path: Path) -> tuple[int, int] | None:
    try:
        with Image.open(path) as image:
            return image.size
    # Pillow meets what is no image with an error of many types.
    except Exception:
        return None


def _differs(found: Found) -> list[str]:
    """Where the counts are not those that were published under this name."""
    if found.labelled:
        return [line for line in (split.difference() for split in found.labelled) if line is not None]
    known = KNOWN.get(found.name)
    if known is None:
        return []
    if found.benchmark is None:
        counts = {"images": (len(found.files), known.images)}
    else:
        counts = {
            "database images": (len(found.benchmark.images), known.images),
            "queries": (len(found.benchmark.queries), known.queries),
        }
    return [
        f"{found.name} was published with {public:,} {what}, here are {here:,}."
        for what, (here, public) in counts.items()
        if here != public
    ]
