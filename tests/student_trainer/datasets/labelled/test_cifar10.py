"""CIFAR-10: both versions make the same files, and a hostile batch runs nothing."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_datasets import cifar_images, make_cifar10, write_cifar_batch
from PIL import Image

from student_trainer.datasets.labelled.cifar10 import CLASSES
from student_trainer.datasets.labelled.opening import list_labelled, open_labelled
from student_trainer.errors import InvalidInput


def as_python_2_wrote_it(planes: np.ndarray, labels: list[int]) -> bytes:
    """A batch with the operations of the public files: text of bytes, numpy's old names, protocol 2."""
    raw = planes.tobytes()
    listed = b"".join(b"K" + bytes([label]) for label in labels)
    shape = b"K" + bytes([len(planes)]) + b"M" + (3072).to_bytes(2, "little")
    return (
        b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x07a batchq\x03U\x06labelsq\x04]q\x05(" + listed + b"e"
        b"U\x04dataq\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85U\x01b\x87Rq\t("
        b"K\x01"
        + shape
        + b"\x86cnumpy\ndtype\nq\nU\x02u1K\x00K\x01\x87Rq\x0b(K\x03U\x01|NNNJ\xff\xff\xff\xffJ"
        b"\xff\xff\xff\xffK\x00tb\x89T" + len(raw).to_bytes(4, "little") + raw + b"tbU\tfilenamesq\x0c]q\ru."
    )


@pytest.mark.parametrize("binary", [False, True])
def test_the_images_become_files_with_their_pixels_and_labels(tmp_path: Path, binary: bool) -> None:
    make_cifar10(tmp_path, images=12, binary=binary)
    test = open_labelled("cifar10", tmp_path, "test")
    planes, labels = cifar_images(12)
    assert len(test) == len(labels) == 120
    for row in (0, 25, 119):
        expected = planes[row].reshape(3, 32, 32).transpose(1, 2, 0)
        assert np.array_equal(np.asarray(Image.open(test.paths[row])), expected)
        assert test.entries[row].label == CLASSES[labels[row]]
    assert test.paths[25].name == "data_batch_2_00005.png"
    assert test.paths[119].parent.name == "test_batch"


def test_both_versions_make_the_same_files_of_the_same_names(tmp_path: Path) -> None:
    make_cifar10(tmp_path / "a")
    make_cifar10(tmp_path / "b", binary=True)
    one, other = (open_labelled("cifar10", tmp_path / place, "train") for place in "ab")
    assert [(path.name, path.read_bytes()) for path in one.paths] == [
        (path.name, path.read_bytes()) for path in other.paths
    ]
    assert [entry.label for entry in one.entries] == [entry.label for entry in other.entries]


def test_some_ask_some_are_trained_on_and_all_but_the_queries_are_searched(tmp_path: Path) -> None:
    make_cifar10(tmp_path, images=20)
    train, test, database = (
        open_labelled("cifar10", tmp_path, split) for split in ("train", "test", "database")
    )
    asking = {entry.path for entry in test.entries if entry.is_query}
    assert (len(train), len(test), len(database), len(asking)) == (100, 200, 180, 20)
    assert set(database.paths) == set(test.paths) - asking
    assert set(train.paths) < set(database.paths)
    assert not any(entry.is_query for entry in (*train.entries, *database.entries))
    for split, each in ((train.entries, 10), ([e for e in test.entries if e.is_query], 2)):
        labels = [entry.label for entry in split]
        assert {name: labels.count(name) for name in CLASSES} == dict.fromkeys(CLASSES, each)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_batches_of_every_protocol_are_read(tmp_path: Path, protocol: int) -> None:
    make_cifar10(tmp_path, images=6, pickle_protocol=protocol)
    assert len(list_labelled(tmp_path / "cifar-10-batches-py", "cifar10", "test")) == 60


def test_batches_as_python_2_wrote_them_are_read(tmp_path: Path) -> None:
    folder = make_cifar10(tmp_path, images=6)
    planes, labels = cifar_images(6)
    (folder / "data_batch_1").write_bytes(as_python_2_wrote_it(planes[:10], labels[:10].tolist()))
    assert pickle.loads((folder / "data_batch_1").read_bytes(), encoding="latin1")["labels"] == list(
        range(10)
    )
    found = list_labelled(folder, "cifar10", "test")
    assert found.pixels is not None
    assert np.array_equal(found.pixels[7], planes[7].reshape(3, 32, 32).transpose(1, 2, 0))


def test_keys_may_be_bytes_as_python_3_writes_them(tmp_path: Path) -> None:
    folder = make_cifar10(tmp_path, images=6)
    planes, labels = cifar_images(6)
    content = {b"labels": labels[:10].tolist(), b"data": planes[:10]}
    (folder / "data_batch_1").write_bytes(pickle.dumps(content))
    assert len(list_labelled(folder, "cifar10", "test")) == 60


def test_files_are_written_once_and_mended_where_they_are_not_what_they_should_be(tmp_path: Path) -> None:
    make_cifar10(tmp_path)
    paths = open_labelled("cifar10", tmp_path, "train").paths
    content, before = paths[3].read_bytes(), paths[0].stat().st_mtime_ns
    paths[3].write_bytes(b"cut")
    paths[4].unlink()
    open_labelled("cifar10", tmp_path, "train")
    assert paths[3].read_bytes() == content
    assert paths[4].is_file()
    assert paths[0].stat().st_mtime_ns == before
    assert {path.suffix for path in paths[0].parent.iterdir()} == {".png"}


class Hostile:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return print, ("run",)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (
            lambda f, p: (f / "data_batch_3").write_bytes(pickle.dumps(Hostile())),
            r"refused: it names builtins\.print",
        ),
        (lambda f, p: (f / "data_batch_3").unlink(), "data_batch_3 cannot be read: No such file"),
        (lambda f, p: (f / "data_batch_3").write_bytes(b"\x80\x02}"), "data_batch_3 is refused: it is cut"),
        (
            lambda f, p: (f / "data_batch_3").write_bytes(pickle.dumps([1])),
            "should be a dictionary with 'data'",
        ),
        (
            lambda f, p: write_cifar_batch(f / "data_batch_3", p, [1, 2]),
            r"'data' should be uint8 \[2, 3,072\]",
        ),
        (
            lambda f, p: write_cifar_batch(f / "data_batch_3", p.astype(int), [1] * 10),
            "as many rows as labels",
        ),
        (lambda f, p: write_cifar_batch(f / "data_batch_3", "x", [1] * 10), "but is str"),
        (
            lambda f, p: write_cifar_batch(f / "data_batch_3", p, [1] * 9 + [10]),
            "1 labels are not from 0 to 9",
        ),
        (
            lambda f, p: write_cifar_batch(f / "data_batch_3", p, ["a"] * 10),
            "'labels' should be a list of numbers",
        ),
    ],
)
def test_a_batch_that_cannot_be_is_refused_and_nothing_is_run(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path, np.ndarray], object],
    complaint: str,
) -> None:
    spoil(make_cifar10(tmp_path, images=6), cifar_images(6)[0][:10])
    with pytest.raises(InvalidInput, match=complaint):
        open_labelled("cifar10", tmp_path, "train")
    assert capsys.readouterr().out == ""


def test_binary_batches_that_are_cut_or_of_another_set_are_refused(tmp_path: Path) -> None:
    folder = make_cifar10(tmp_path, binary=True)
    batch = folder / "data_batch_2.bin"
    content = batch.read_bytes()
    batch.write_bytes(content[:-1])
    with pytest.raises(InvalidInput, match=r"no whole number of images of 3,073: it is cut"):
        open_labelled("cifar10", tmp_path, "train")
    batch.write_bytes(b"\x0a" + content[1:])
    with pytest.raises(InvalidInput, match=r"1 labels are not from 0 to 9, the first is 10 of image 0"):
        open_labelled("cifar10", tmp_path, "train")
    batch.unlink()
    with pytest.raises(InvalidInput, match=r"data_batch_2\.bin cannot be read"):
        open_labelled("cifar10", tmp_path, "train")
