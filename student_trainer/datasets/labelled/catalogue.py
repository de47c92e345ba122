"""The public sets of labelled images: what to download, where it goes, and what each split should hold.

In: a name, or a folder of data sets. Out: the facts of a set, the folder in which it lies, or the one message
for a set that is not there.

Which images are trained on and which are measured is the custom of the field, not always the set's own:
metric learning tests on classes that training never saw (Song et al., "Deep Metric Learning via Lifted
Structured Feature Embedding", 2016, Sec. 6), hashing draws queries and training images class by class
(:mod:`student_trainer.datasets.labelled.hashing_split`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from student_trainer.datasets.known import LISTED, SUBFOLDERS, not_among
from student_trainer.errors import InvalidInput

CUB200, CARS196, ONLINE_PRODUCTS, CIFAR10, NUS_WIDE = (
    "cub200",
    "cars196",
    "online-products",
    "cifar10",
    "nus-wide",
)
TRAIN, TEST, DATABASE = "train", "test", "database"
"""Splits: what is learned from; what is measured on, with its queries where some ask and others are searched;
and of the latter sets all that may be searched, to buy and to learn from without labels."""


@dataclass(frozen=True)
class Published:
    """What a split holds, by the papers that use it."""

    images: int
    classes: int
    queries: int = 0
    """Of the images, those that ask; 0 where every image asks for all others."""

    def in_words(self) -> str:
        """``5,864 images of 100 classes``."""
        asking = f", {self.queries:,} of them queries" if self.queries else ""
        return f"{self.images:,} images of {self.classes:,} classes{asking}"


@dataclass(frozen=True)
class LabelledSet:
    """One public set."""

    name: str
    title: str
    folders: tuple[str, ...]
    """What its archives unpack to; the first is the usual one."""
    index_files: tuple[str, ...]
    """Of each layout the file that says which images there are."""
    holds: str
    """How many images, in words."""
    download: tuple[str, ...]
    """What to get, how large it is, and from which project's page."""
    layout: str
    splits: Mapping[str, Published]
    classes: int
    """Class numbers or concepts in all."""


LABELLED: dict[str, LabelledSet] = {
    known.name: known
    for known in (
        LabelledSet(
            CUB200,
            "CUB-200-2011, birds (metric learning)",
            ("CUB_200_2011",),
            ("image_class_labels.txt",),
            "11,788 images of 200 classes; the first 100 are trained on, the other 100 measured",
            ("CUB_200_2011.tgz (1.1 GB) from 'Caltech-UCSD Birds-200-2011' (vision.caltech.edu)",),
            "images.txt, image_class_labels.txt and classes.txt beside images/<class>/<image>.jpg",
            {TRAIN: Published(5_864, 100), TEST: Published(5_924, 100)},
            200,
        ),
        LabelledSet(
            CARS196,
            "Cars-196 (metric learning)",
            ("cars196", "stanford_cars"),
            ("cars_annos.mat", "devkit/cars_train_annos.mat"),
            "16,185 images of 196 classes; the first 98 are trained on, the other 98 measured",
            (
                "car_ims.tgz (1.8 GB) and cars_annos.mat from 'Cars Dataset' (Krause et al., Stanford AI "
                "Lab)",
                "or cars_train.tgz, cars_test.tgz (1.8 GB), car_devkit.tgz and "
                "cars_test_annos_withlabels.mat of the same",
            ),
            "cars_annos.mat beside car_ims/<image>.jpg; or devkit/cars_train_annos.mat and "
            "cars_test_annos_withlabels.mat beside cars_train/ and cars_test/",
            {TRAIN: Published(8_054, 98), TEST: Published(8_131, 98)},
            196,
        ),
        LabelledSet(
            ONLINE_PRODUCTS,
            "Stanford Online Products (metric learning)",
            ("Stanford_Online_Products",),
            ("Ebay_train.txt",),
            "120,053 images of 22,634 products; its own split: 11,318 are trained on, 11,316 measured",
            (
                "Stanford_Online_Products.zip (2.9 GB) from 'Deep Metric Learning via Lifted Structured "
                "Feature Embedding' (cvgl.stanford.edu/projects/lifted_struct)",
            ),
            "Ebay_train.txt and Ebay_test.txt beside <kind>_final/<image>.JPG",
            {TRAIN: Published(59_551, 11_318), TEST: Published(60_502, 11_316)},
            22_634,
        ),
        LabelledSet(
            CIFAR10,
            "CIFAR-10 (hashing)",
            ("cifar-10-batches-py", "cifar-10-batches-bin"),
            ("data_batch_1", "data_batch_1.bin"),
            "60,000 images of 10 classes; of each class 100 ask, 500 are trained on, and all but the queries "
            "are searched",
            (
                "cifar-10-python.tar.gz (163 MB), or cifar-10-binary.tar.gz (162 MB), from 'The CIFAR-10 "
                "dataset' (cs.toronto.edu/~kriz/cifar.html)",
            ),
            "data_batch_1 to data_batch_5 and test_batch, or the same with .bin; the images are written once "
            "as PNG files into png/ beside them (0.3 GB)",
            {
                TRAIN: Published(5_000, 10),
                TEST: Published(60_000, 10, 1_000),
                DATABASE: Published(59_000, 10),
            },
            10,
        ),
        LabelledSet(
            NUS_WIDE,
            "NUS-WIDE, 21 concepts (hashing)",
            ("NUS-WIDE",),
            ("ImageList/Imagelist.txt",),
            "269,648 images with 81 concepts; 195,834 show one of the 21 most frequent: of each concept 100 "
            "ask, 500 are trained on, and all but the queries are searched",
            (
                "the image list and the ground truth (some MB) from 'NUS-WIDE' (Lab for Media Search, "
                "National University of Singapore)",
                "its photographs, which that page gives by their addresses on Flickr or on request",
            ),
            "ImageList/Imagelist.txt and Groundtruth/AllLabels/Labels_<concept>.txt beside "
            "Flickr/<folder>/<image>.jpg",
            {
                TRAIN: Published(10_500, 21),
                TEST: Published(195_834, 21, 2_100),
                DATABASE: Published(193_734, 21),
            },
            81,
        ),
    )
}


def known_set(name: str, option: str = "--dataset") -> LabelledSet:
    """The set of that name.

    Raises:
        InvalidInput: there is none; the message suggests the nearest.
    """
    if name not in LABELLED:
        raise not_among(option, name, list(LABELLED))
    return LABELLED[name]


def find_labelled(root: Path, name: str) -> Path:
    """The folder of a set: ``root`` itself or below it, as its archive unpacks or under its name here.

    Raises:
        InvalidInput: it is in none of them; the message says what to download.
    """
    known = LABELLED[name]
    below = [root / sub / folder for sub in SUBFOLDERS for folder in (*known.folders, name)]
    for folder in (root, *below):
        if is_there(known, folder):
            return folder
    raise InvalidInput(
        f"{known.title}: there is no {' or '.join(known.index_files)} in {root} or in {known.folders[0]} "
        f"below it. Nothing is downloaded for you. Get {'; '.join(known.download)}. Put them into one folder "
        f"{known.folders[0]}: {known.layout} ({known.holds}). {LISTED}"
    )


def labelled_in(folder: Path) -> str | None:
    """Which of the sets lies in this very folder, or would by the folder's name."""
    lying = (known.name for known in LABELLED.values() if is_there(known, folder))
    meant = (known.name for known in LABELLED.values() if folder.name in (known.name, *known.folders))
    return next(lying, None) or next(meant, None)


def is_there(known: LabelledSet, folder: Path) -> bool:
    """Whether a folder holds one of the files that say which images there are."""
    return any((folder / name).is_file() for name in known.index_files)
