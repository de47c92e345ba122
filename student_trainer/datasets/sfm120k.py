"""The training set retrieval-SfM-120k: images of landmarks, the 3D model each belongs to, and matching pairs.

In: the folder with ``retrieval-SfM-120k.pkl`` and ``ims/``. Out: one of its two splits. No image is opened,
so what is not chosen need not be there.

Source: Radenovic, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation" (2018). Two
images of a cluster need not show the same part of it: only the pairs are known to match.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from student_trainer.datasets.known import KNOWN, SFM120K, find_set
from student_trainer.datasets.manifest import Entry
from student_trainer.datasets.plain_values import member, names, whole_numbers
from student_trainer.datasets.restricted_pickle import read_plain_pickle
from student_trainer.errors import InvalidInput

SPLITS = ("train", "val")
_SHORTEST_CID = 6
"""Characters that the path of an image is made of."""


@dataclass(frozen=True)
class Pairs:
    """Images that show the same, by their places in a split: row i of one with row i of the other."""

    queries: NDArray[np.int64]
    """[P]"""
    positives: NDArray[np.int64]
    """[P]"""

    def __len__(self) -> int:
        return len(self.queries)


@dataclass(frozen=True)
class SfmSplit:
    """The images of a split, in its order."""

    root: Path
    """The folder that ``ims`` is in."""
    name: str
    cids: tuple[str, ...]
    clusters: NDArray[np.int64]
    """[n] the 3D model of each image; the label of the supervised baselines."""
    pairs: Pairs

    @property
    def paths(self) -> tuple[Path, ...]:
        """n files, whether they are there or not."""
        return tuple(image_path(self.root, cid) for cid in self.cids)

    def entries(self) -> list[Entry]:
        """n photographs with their cluster as label, in the order of the split."""
        return [
            Entry(path, label=str(cluster), split=self.name)
            for path, cluster in zip(self.paths, self.clusters.tolist(), strict=True)
        ]


def image_path(root: Path, cid: str) -> Path:
    """``ims/ef/cd/ab/...abcdef`` below ``root``: six characters of the end, two by two; no extension."""
    return root / "ims" / cid[-2:] / cid[-4:-2] / cid[-6:-4] / cid


def open_sfm120k(where: Path, split: str = "train") -> SfmSplit:
    """A split of the set in, or directly below, a folder.

    Raises:
        InvalidInput: it is not there (what to download is said), there is no such split, or the file is
            refused, damaged, or says what cannot be.
    """
    if split not in SPLITS:
        raise InvalidInput(f"SfM-120k has no split {split!r}; choose from: {', '.join(SPLITS)}.")
    root = find_set(where, SFM120K)
    path = root / KNOWN[SFM120K].index_file
    return _split(member(read_plain_pickle(path), split, str(path)), root, split, f"{path}, {split}")


def _split(content: Any, root: Path, name: str, where: str) -> SfmSplit:
    cids = names(member(content, "cids", where), f"{where}: 'cids'")
    unfit = [cid for cid in cids if not _makes_a_path(cid)]
    if unfit:
        raise InvalidInput(f"{where}: {len(unfit):,} names make no path, the first is {unfit[0][:100]!r}.")
    clusters, queries, positives = (
        whole_numbers(member(content, key, where), f"{where}: {key!r}")
        for key in ("cluster", "qidxs", "pidxs")
    )
    if len(clusters) != len(cids) or len(queries) != len(positives):
        raise InvalidInput(
            f"{where}: {len(cids):,} images with {len(clusters):,} clusters, and {len(queries):,} queries "
            f"with {len(positives):,} positives. Get the file again from the project that publishes it."
        )
    for key, places in (("qidxs", queries), ("pidxs", positives)):
        outside = places[(places < 0) | (places >= len(cids))]
        if len(outside):
            raise InvalidInput(
                f"{where}: {key!r} names {len(outside):,} places outside its {len(cids):,} images, the first "
                f"is {outside[0]}."
            )
    return SfmSplit(root, name, cids, clusters, Pairs(queries, positives))


def _makes_a_path(cid: str) -> bool:
    """Long enough, and no part of its path leads elsewhere."""
    parts = (cid[-2:], cid[-4:-2], cid[-6:-4], cid)
    return len(cid) >= _SHORTEST_CID and not any("/" in part or part in (".", "..") for part in parts)
