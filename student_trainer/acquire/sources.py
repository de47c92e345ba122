"""Where the photographs of a plan come from: a folder, a manifest, a list of paths, or a public set.

In: the options of ``plan``. Out: the photographs, words that name their source, and how they are to be drawn.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from student_trainer.acquire.records import DrawnBy
from student_trainer.datasets.image_list import read_image_list
from student_trainer.datasets.known import CIRTORCH_PAGE, KNOWN, SFM120K
from student_trainer.datasets.labelled.catalogue import TRAIN
from student_trainer.datasets.labelled.opening import open_labelled
from student_trainer.datasets.labelled.split import LabelledSplit
from student_trainer.datasets.manifest import Entry, read_manifest, scan_folder
from student_trainer.datasets.sfm120k import SfmSplit, open_sfm120k
from student_trainer.errors import InvalidInput

OPTIONS = ("--images DIR", "--manifest FILE", "--image-list FILE", "--sfm120k ROOT", "--dataset NAME")
"""That name a source."""
_WITH_SPLITS = ("--manifest", "--sfm120k", "--dataset")


@dataclass(frozen=True)
class Source:
    """Photographs to choose from."""

    entries: list[Entry]
    words: str
    """Name the source in a plan and its report."""
    drawn_by: DrawnBy = "digest"
    root: Path = Path()
    """The manifest, the list, or the folder that holds the photographs."""

    @property
    def names(self) -> tuple[str, ...]:
        """The photographs' paths as their manifest or list has them, else from the root on."""
        return tuple(
            entry.listed_as or Path(os.path.relpath(entry.path, self.root)).as_posix()
            for entry in self.entries
        )


def open_source(
    *,
    images: Path | None = None,
    manifest: Path | None = None,
    image_list: Path | None = None,
    sfm120k: Path | None = None,
    dataset: str | None = None,
    root: Path | None = None,
    split: str | None = None,
    options: Sequence[str] = OPTIONS,
) -> Source:
    """The one source that is given; ``root`` is the folder of data sets, for ``dataset``.

    ``options`` are those that the command has, for its refusals.

    Raises:
        InvalidInput: none is given, or several, or a split of what has none; or it cannot be used.
    """
    given = [place for place in (images, manifest, image_list, sfm120k, dataset) if place is not None]
    if len(given) != 1:
        raise InvalidInput(
            f"Give one source of images: {', '.join(options[:-1])} or {options[-1]}; {len(given)} were given."
        )
    if split is not None and (images is not None or image_list is not None):
        having = [name for name in _WITH_SPLITS if any(name in option for option in options)]
        raise InvalidInput(
            f"--split is for {', '.join(having[:-1])} and {having[-1]}: a folder or a list has no splits."
        )
    if root is not None and dataset is None:
        raise InvalidInput("--root is the folder of data sets: say with --dataset NAME which of them.")
    if images is not None:
        return Source(scan_folder(images), f"folder {images.absolute()}", root=images)
    if image_list is not None:
        return Source(read_image_list(image_list), f"image list {image_list.absolute()}", root=image_list)
    if manifest is not None:
        part = f" (split {split})" if split else ""
        return Source(read_manifest(manifest, split), f"manifest {manifest.absolute()}{part}", root=manifest)
    if dataset is not None:
        return _of_labelled(open_labelled(dataset, root, split or TRAIN))
    assert sfm120k is not None  # the only one left
    public = open_sfm120k(sfm120k, split or "train")
    _require_images(public)
    words = f"SfM-120k {public.root.absolute()} (split {public.name})"
    return Source(public.entries(), words, "file name", public.root)


def _of_labelled(public: LabelledSplit) -> Source:
    words = f"{public.name} {public.root.absolute()} (split {public.split})"
    drawn_by: DrawnBy = "file name" if public.names_differ else "digest"
    return Source(list(public.entries), words, drawn_by, public.root)


def _require_images(public: SfmSplit) -> None:
    """Refuse at once what would fail for each of 91,642 files, one after the other."""
    known = KNOWN[SFM120K]
    folder = public.root / known.image_folder
    if not folder.is_dir():
        raise InvalidInput(
            f"{known.index_file} is there, but its images are not: there is no folder {folder}. Get the "
            f"archive {known.image_folder} of the training images from {CIRTORCH_PAGE} and unpack it beside "
            f"{known.index_file}: {known.layout}."
        )
