"""Tiny copies of the public sets of labelled images, in the layouts and files that they are published in.

In: a folder to write into. Out: the folder of the set, as its archives unpack. The photographs are those of
:mod:`made_benchmarks`: each class is a sight, each image a view of it.
"""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from made_benchmarks import write_view
from PIL import Image
from scipy.io import savemat

CONCEPTS = tuple(f"concept{number:02}" for number in range(23))
"""More than the 21 that are kept; the first two are the rarest."""


def make_cub200(root: Path, *, classes: Sequence[int] = (1, 2, 100, 101, 199, 200), images: int = 4) -> Path:
    """CUB-200-2011 with some of its classes, by their numbers: those above 100 are for testing."""
    folder = root / "CUB_200_2011"
    rows = [
        (label, f"{label:03}.Bird_{label}/Bird_{label}_{view:04}.jpg")
        for label in classes
        for view in range(images)
    ]
    for number, (label, path) in enumerate(rows):
        write_view(folder / "images" / path, 0, label, number % images)
    write_lines(folder / "images.txt", [f"{number} {path}" for number, (_, path) in enumerate(rows, 1)])
    write_lines(
        folder / "image_class_labels.txt", [f"{number} {row[0]}" for number, row in enumerate(rows, 1)]
    )
    write_lines(folder / "classes.txt", [f"{label} {label:03}.Bird_{label}" for label in range(1, 201)])
    write_lines(
        folder / "train_test_split.txt", [f"{number} {number % 2}" for number in range(1, len(rows) + 1)]
    )
    return folder


def make_cars196(
    root: Path, *, classes: Sequence[int] = (1, 2, 98, 99, 195, 196), images: int = 4, devkit: bool = False
) -> Path:
    """Cars-196, with all images in one folder, or divided as the devkit has them: every other image each."""
    folder = root / "cars196"
    rows = [(label, view) for label in classes for view in range(images)]
    if not devkit:
        for number, (label, view) in enumerate(rows, 1):
            write_view(folder / "car_ims" / f"{number:06}.jpg", 1, label, view)
        named = [(f"car_ims/{number:06}.jpg", label) for number, (label, _) in enumerate(rows, 1)]
        write_annotations(folder / "cars_annos.mat", "relative_im_path", named, class_names=_car_names())
        return folder
    for part, file in (
        ("train", folder / "devkit" / "cars_train_annos.mat"),
        ("test", folder / "cars_test_annos_withlabels.mat"),
    ):
        own = rows[part == "test" :: 2]
        for number, (label, view) in enumerate(own, 1):
            write_view(folder / f"cars_{part}" / f"{number:05}.jpg", 1, label, view)
        write_annotations(
            file, "fname", [(f"{number:05}.jpg", label) for number, (label, _) in enumerate(own, 1)]
        )
    savemat(folder / "devkit" / "cars_meta.mat", {"class_names": _cells(_car_names())})
    return folder


def make_online_products(root: Path, *, products: int = 4, images: int = 3) -> Path:
    """Stanford Online Products: so many products in either half."""
    folder = root / "Stanford_Online_Products"
    number = 0
    for half, first in (("train", 1), ("test", 11_319)):
        lines = ["image_id class_id super_class_id path"]
        for label in range(first, first + products):
            for view in range(images):
                number += 1
                path = f"{('bicycle', 'mug')[label % 2]}_final/{label + 111_085_122_870}_{view}.JPG"
                write_view(folder / path, 2, label, view)
                lines.append(f"{number} {label} {1 + label % 2} {path}")
        write_lines(folder / f"Ebay_{half}.txt", lines)
    return folder


def make_cifar10(root: Path, *, images: int = 12, binary: bool = False, pickle_protocol: int = 2) -> Path:
    """CIFAR-10 with so many images of each class, spread over its six batches."""
    folder = root / ("cifar-10-batches-bin" if binary else "cifar-10-batches-py")
    folder.mkdir(parents=True, exist_ok=True)
    planes, labels = cifar_images(images)
    for number, rows in enumerate(np.array_split(np.arange(len(labels)), 6), 1):
        name = f"data_batch_{number}" if number < 6 else "test_batch"
        if binary:
            content = np.concatenate([labels[rows, None].astype(np.uint8), planes[rows]], axis=1).tobytes()
            (folder / f"{name}.bin").write_bytes(content)
        else:
            write_cifar_batch(folder / name, planes[rows], labels[rows].tolist(), pickle_protocol)
    return folder


def cifar_images(images: int) -> tuple[np.ndarray, np.ndarray]:
    """Planes uint8 [n, 3072] and labels [n], the classes in turn: each a pattern with noise."""
    random = np.random.default_rng(3)
    patterns = random.integers(0, 256, (10, 4, 4, 3)).astype(np.uint8)
    labels = np.arange(10 * images) % 10
    planes = np.empty((len(labels), 3, 32, 32), np.uint8)
    for row, label in enumerate(labels):
        large = np.asarray(Image.fromarray(patterns[label]).resize((32, 32), Image.Resampling.BICUBIC), float)
        noisy = large + random.normal(0, 12, large.shape)
        planes[row] = noisy.clip(0, 255).astype(np.uint8).transpose(2, 0, 1)
    return planes.reshape(-1, 3072), labels


def write_cifar_batch(path: Path, planes: Any, labels: Any, pickle_protocol: int = 2) -> None:
    """A batch of the python version, with what is given, right or wrong."""
    content = {"batch_label": "a batch", "labels": labels, "data": planes, "filenames": []}
    path.write_bytes(pickle.dumps(content, pickle_protocol))


def make_nus_wide(root: Path, *, images: int = 46) -> Path:
    """NUS-WIDE with 23 concepts, of which 21 are kept: image i shows concepts i and i + 1.

    Every fifth image shows nothing, and the first alone the first two concepts.
    """
    folder = root / "NUS-WIDE"
    names = [f"{CONCEPTS[row % 23]}\\{row:04}_{2_124_494_179 + row}.jpg" for row in range(images)]
    shows = np.zeros((images, len(CONCEPTS)), bool)
    for row in range(images):
        if row % 5 != 4:
            shows[row, [row % 23, (row + 1) % 23]] = True
    shows[1:, :2] = False
    for row, name in enumerate(names):
        write_view(folder / "Flickr" / name.replace("\\", "/"), 4, row % 23, row // 23)
    write_lines(folder / "ImageList" / "Imagelist.txt", names, "\r\n")
    for concept, column in zip(CONCEPTS, shows.T, strict=True):
        file = folder / "Groundtruth" / "AllLabels" / f"Labels_{concept}.txt"
        write_lines(file, [str(int(value)) for value in column])
    return folder


def write_annotations(
    path: Path,
    image_field: str,
    named: Sequence[tuple[Any, Any]],
    *,
    class_names: Sequence[str] = (),
    compressed: bool = True,
) -> None:
    """A struct array of annotations as the set's own, with what is given, right or wrong."""
    kinds = [(field, object) for field in ("bbox_x1", "class", image_field)]
    records = np.array([[(np.uint8(4), label, name) for name, label in named]], dtype=kinds)
    variables: dict[str, Any] = {"annotations": records}
    if class_names:
        variables["class_names"] = _cells(class_names)
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, variables, do_compression=compressed)


def write_lines(path: Path, lines: Sequence[str], ending: str = "\n") -> None:
    """A text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + ending for line in lines).encode())


def _car_names() -> list[str]:
    return [f"Car model {number}" for number in range(1, 197)]


def _cells(texts: Sequence[str]) -> np.ndarray:
    return np.array([list(texts)], dtype=object)
