"""The public data sets: what to download, from whom, and where it goes, since nothing is fetched silently.

In: a name, or a folder of data sets. Out: the catalogue, the folder in which a set lies, or the one message
for a set that is not there. The names of folders and files are those of the projects that publish them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from student_trainer.errors import InvalidInput
from student_trainer.nearest import nearest

SFM120K, DISTRACTORS = "retrieval-SfM-120k", "revisitop1m"
SUBFOLDERS = ("", "test", "train")
"""Where a set may lie below the folder of all data; the last two are those of the public code."""
REVISITED_PAGE = "'Revisiting Oxford and Paris' (cmp.felk.cvut.cz/revisitop)"
CIRTORCH_PAGE = "'CNN Image Retrieval' (cmp.felk.cvut.cz/cnnimageretrieval)"
_OXFORD_IMAGES = "the archive oxbuild_images of 'The Oxford Buildings Dataset' (VGG, University of Oxford)"
_PARIS_IMAGES = "the archives paris_1 and paris_2 of 'The Paris Dataset' (VGG, University of Oxford)"
_FLAT = "all photographs directly in jpg/, without the archive's sub-folders"


@dataclass(frozen=True)
class KnownSet:
    """One public data set."""

    name: str
    """Of its folder."""
    title: str
    index_file: str
    """Says which images there are; without it there is no data set."""
    image_folder: str
    holds: str
    """How many images, in words."""
    download: tuple[str, ...]
    """What to get, and from which project's page."""
    layout: str
    images: int = 0
    """Of its database, or of its list."""
    queries: int = 0
    short: str = ""
    """As papers write it in their tables."""
    photographs: str = ""
    """Of which collection, where several sets share one; a whitening is learned on another one."""
    protocol: str = ""
    """Of a benchmark, see :data:`student_trainer.datasets.ground_truth.Protocol`."""


KNOWN: dict[str, KnownSet] = {
    known.name: known
    for known in (
        KnownSet(
            "roxford5k",
            "Revisited Oxford (evaluation)",
            "gnd_roxford5k.pkl",
            "jpg",
            "4,993 database images, 70 queries",
            (f"gnd_roxford5k.pkl from {REVISITED_PAGE}", _OXFORD_IMAGES),
            _FLAT,
            4_993,
            70,
            "ROxf",
            "Oxford",
            "revisited",
        ),
        KnownSet(
            "rparis6k",
            "Revisited Paris (evaluation)",
            "gnd_rparis6k.pkl",
            "jpg",
            "6,322 database images, 70 queries",
            (f"gnd_rparis6k.pkl from {REVISITED_PAGE}", _PARIS_IMAGES),
            _FLAT,
            6_322,
            70,
            "RPar",
            "Paris",
            "revisited",
        ),
        KnownSet(
            "oxford5k",
            "Oxford, old protocol (evaluation)",
            "gnd_oxford5k.pkl",
            "jpg",
            "5,063 images, 55 of which ask",
            (f"gnd_oxford5k.pkl from {CIRTORCH_PAGE}", _OXFORD_IMAGES),
            f"{_FLAT}; it may be a link to that of roxford5k",
            5_063,
            55,
            "Oxf",
            "Oxford",
            "old",
        ),
        KnownSet(
            "paris6k",
            "Paris, old protocol (evaluation)",
            "gnd_paris6k.pkl",
            "jpg",
            "6,392 images, 55 of which ask",
            (f"gnd_paris6k.pkl from {CIRTORCH_PAGE}", _PARIS_IMAGES),
            f"{_FLAT}; it may be a link to that of rparis6k",
            6_392,
            55,
            "Par",
            "Paris",
            "old",
        ),
        KnownSet(
            DISTRACTORS,
            "Distractors of the revisited benchmarks (evaluation)",
            f"{DISTRACTORS}.txt",
            "jpg",
            "1,001,001 images that no query should find",
            (f"revisitop1m.txt and the archives of images of R1M from {REVISITED_PAGE}",),
            "images in jpg/ under the paths that the list gives",
            1_001_001,
        ),
        KnownSet(
            SFM120K,
            "SfM-120k (training, and images to buy)",
            f"{SFM120K}.pkl",
            "ims",
            "91,642 training and 6,403 validation images",
            (f"retrieval-SfM-120k.pkl and the archive ims of the training images from {CIRTORCH_PAGE}",),
            "each image CID at ims/<CID[-2:]>/<CID[-4:-2]>/<CID[-6:-4]>/<CID>, without an extension",
            91_642 + 6_403,
        ),
    )
}


def short_name(name: str) -> str:
    """``ROxf`` of ``roxford5k``; of a set that has no such name, its own."""
    return (KNOWN[name].short if name in KNOWN else "") or name


def photographs_of(name: str) -> str:
    """``Oxford`` of ``roxford5k`` and of ``oxford5k``; a set that shares its images with none has its own."""
    return (KNOWN[name].photographs if name in KNOWN else "") or name


def same_photographs(one: str, other: str) -> bool:
    """Whether two data sets, known or not, are of the same images."""
    return photographs_of(one) == photographs_of(other)


def in_protocol(name: str, protocol: str) -> str:
    """The benchmark of this protocol on the same photographs: ``oxford5k`` of ``roxford5k`` for ``old``.

    A set that has none stays as it is.
    """
    return next(
        (
            known.name
            for known in KNOWN.values()
            if known.protocol == protocol and same_photographs(known.name, name)
        ),
        name,
    )


def benchmarks() -> list[str]:
    """The known sets that ask something."""
    return [known.name for known in KNOWN.values() if known.queries]


def not_among(option: str, name: str, known: Sequence[str], more: str = "") -> InvalidInput:
    """The refusal of a name that is none of ``known``, with the nearest of them.

    ``more`` is said behind the names: what else the option takes.
    """
    return InvalidInput(f"{option} {name}: choose from {', '.join(known)}{more}.{nearest(name, known)}")


def find_set(root: Path, name: str) -> Path:
    """The folder of a known set: ``root`` itself, ``root/NAME``, ``root/test/NAME`` or ``root/train/NAME``.

    Raises:
        InvalidInput: it is in none of them; the message says what to download.
        KeyError: no set of that name is known.
    """
    for folder in _places(root, name):
        if (folder / KNOWN[name].index_file).is_file() or _converted(folder, name).is_file():
            return folder
    raise missing_set(root, name)


def missing_set(where: Path, name: str | None = None) -> InvalidInput:
    """The one message for a data set that is not there.

    Args:
        where: the folder that was named.
        name: of a known set; None takes the one that ``where`` is named after, if it is.
    """
    named = name or next((known for known in KNOWN if known in (where.name, where.stem[4:])), None)
    if named is None:
        return InvalidInput(
            f"There is no ground truth in {where}: a folder with gnd_NAME.pkl or gnd_NAME.json, and the "
            f"images in jpg/, is needed. {LISTED}"
        )
    known = KNOWN[named]
    return InvalidInput(
        f"{known.title}: there is no {known.index_file} in {where}. Nothing is downloaded for you. Get "
        f"{'; and '.join(known.download)}. Put them into one folder {named}: {known.index_file} beside "
        f"{known.image_folder}/, {known.layout} ({known.holds}). {LISTED}"
    )


LISTED = "All data sets and what they need: student-trainer datasets"


def _places(root: Path, name: str) -> list[Path]:
    return [root, *(root / subfolder / name for subfolder in SUBFOLDERS)]


def _converted(folder: Path, name: str) -> Path:
    return folder / f"gnd_{name}.json"
