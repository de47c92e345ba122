"""Tiny copies of the public data sets, in the layouts and files that they are published in.

In: a folder to write into. Out: the folder of the data set, as a user would have unpacked it. The photographs
are drawn: each sight is a smooth pattern of colours, each view of it a shifted, dimmed and noisy part.
"""

import hashlib
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

VIEWS = 4
"""Images of a sight in a database: two that are easy to find, a hard one, and junk."""
BOX = (12.0, 9.0, 84.0, 63.0)
"""Of every query, in an image of 96 x 72 pixels."""


def make_revisited(
    root: Path,
    name: str = "roxford5k",
    *,
    sights: int = 3,
    seed: int = 0,
    pickle_protocol: int = 2,
    as_arrays: bool = False,
) -> Path:
    """A revisited benchmark: ``sights`` queries outside a database of 4 images a sight.

    Query i should find images 4 i and 4 i + 1 easily, 4 i + 2 hard; 4 i + 3 is junk.

    Args:
        root: the folder of all benchmarks.
        name: that of the benchmark.
        sights: how many.
        seed: draws the photographs.
        pickle_protocol: of the ground truth.
        as_arrays: write boxes and indices as numpy arrays instead of lists.
    """
    folder = root / name
    imlist, qimlist, truths = [], [], []
    for sight in range(sights):
        first = VIEWS * sight
        names = [f"{name}_{sight:06}_{view}" for view in range(VIEWS)]
        for view, image in enumerate(names):
            write_view(folder / "jpg" / f"{image}.jpg", seed, sight, view)
        query = f"{name}_query_{sight:06}"
        write_view(folder / "jpg" / f"{query}.jpg", seed, sight, VIEWS)
        imlist += names
        qimlist.append(query)
        truths.append(
            {"bbx": list(BOX), "easy": [first, first + 1], "hard": [first + 2], "junk": [first + 3]}
        )
    write_gnd(folder, name, imlist, qimlist, truths, pickle_protocol, as_arrays=as_arrays)
    return folder


def make_old(
    root: Path,
    name: str = "oxford5k",
    *,
    sights: int = 3,
    seed: int = 0,
    pickle_protocol: int = 2,
    as_arrays: bool = False,
) -> Path:
    """A benchmark of the old protocol: every query is an image of the database, and one of its own positives.

    Query i is image 4 i; ok are 4 i, 4 i + 1 and 4 i + 2, junk is 4 i + 3. Arguments as for a revisited one.
    """
    folder = root / name
    imlist = [f"{name}_{sight:06}_{view}" for sight in range(sights) for view in range(VIEWS)]
    for place, image in enumerate(imlist):
        write_view(folder / "jpg" / f"{image}.jpg", seed, *divmod(place, VIEWS))
    firsts = [VIEWS * sight for sight in range(sights)]
    truths = [
        {"bbx": list(BOX), "ok": [first, first + 1, first + 2], "junk": [first + 3]} for first in firsts
    ]
    write_gnd(
        folder,
        name,
        imlist,
        [imlist[first] for first in firsts],
        truths,
        pickle_protocol,
        as_arrays=as_arrays,
    )
    return folder


def make_sfm120k(
    root: Path, *, clusters: int = 6, images: int = 4, seed: int = 0, pickle_protocol: int = 2
) -> Path:
    """The training set: ``clusters`` sights of ``images`` views each, and 2 other sights to validate.

    Pairs: every image of a cluster with the next one of it, but for the last, which matches none.
    """
    folder = root / "retrieval-SfM-120k"
    db = {
        "train": _sfm_split(folder, range(clusters), images, seed),
        "val": _sfm_split(folder, range(clusters, clusters + 2), images, seed),
    }
    (folder / "retrieval-SfM-120k.pkl").write_bytes(pickle.dumps(db, pickle_protocol))
    return folder


def write_gnd(
    folder: Path,
    name: str,
    imlist: Sequence[str],
    qimlist: Sequence[str],
    truths: Sequence[dict[str, Any]],
    pickle_protocol: int = 2,
    *,
    as_arrays: bool = False,
) -> Path:
    """``gnd_NAME.pkl`` with what is given, right or wrong."""
    if as_arrays:
        truths = [{key: np.array(value) for key, value in truth.items()} for truth in truths]
    content = {"imlist": list(imlist), "qimlist": list(qimlist), "gnd": list(truths)}
    path = folder / f"gnd_{name}.pkl"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, pickle_protocol))
    return path


def write_view(path: Path, seed: int, sight: int, view: int, size: tuple[int, int] = (96, 72)) -> None:
    """One JPEG of a sight; the same arguments give the same bytes."""
    pattern = np.random.default_rng([seed, sight]).uniform(0, 255, size=(4, 5, 3)).astype(np.uint8)
    width, height = size
    scene = Image.fromarray(pattern).resize((width * 5 // 4, height * 5 // 4), Image.Resampling.BICUBIC)
    random = np.random.default_rng([seed, sight, view])
    left, top = int(random.integers(width // 4 + 1)), int(random.integers(height // 4 + 1))
    part = np.asarray(scene.crop((left, top, left + width, top + height)), dtype=np.float64)
    noisy = part * random.uniform(0.8, 1.0) + random.normal(0, 6, size=part.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, format="JPEG", quality=90)


def sfm_cid(seed: int, sight: int, view: int) -> str:
    """32 hexadecimal digits, as the public names have."""
    return hashlib.sha256(f"{seed} {sight} {view}".encode()).hexdigest()[:32]


def _sfm_split(folder: Path, sights: range, images: int, seed: int) -> dict[str, list[Any]]:
    cids, cluster, qidxs, pidxs = [], [], [], []
    for sight in sights:
        for view in range(images):
            cid = sfm_cid(seed, sight, view)
            if view + 1 < images:
                qidxs.append(len(cids))
                pidxs.append(len(cids) + 1)
            cids.append(cid)
            cluster.append(sight)
            write_view(folder / "ims" / cid[-2:] / cid[-4:-2] / cid[-6:-4] / cid, seed, sight, view)
    return {"cids": cids, "cluster": cluster, "qidxs": qidxs, "pidxs": pidxs}
