"""Stanford Online Products: its own two halves, in the order of their lists."""

from collections.abc import Callable
from pathlib import Path

import pytest
from made_datasets import make_online_products

from student_trainer.datasets.labelled.opening import open_labelled
from student_trainer.errors import InvalidInput


def test_each_half_is_that_of_its_list(tmp_path: Path) -> None:
    folder = make_online_products(tmp_path, products=4, images=3)
    train, test = (open_labelled("online-products", tmp_path, split) for split in ("train", "test"))
    assert [entry.label for entry in train.entries] == [label for label in "1234" for _ in range(3)]
    assert train.paths[0] == folder / "mug_final" / "111085122871_0.JPG"
    assert not {entry.label for entry in train.entries} & {entry.label for entry in test.entries}
    assert all(path.is_file() for path in (*train.paths, *test.paths))
    assert {path.name for path in test.image_folders} == {"bicycle_final", "mug_final"}


def spoil(old: str, new: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = folder / "Ebay_test.txt"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            spoil("image_id class_id", "class_id image_id"),
            "line 1: expected 'image_id class_id super_class_id path'",
        ),
        (spoil("14 11319", "13 11319"), "line 3: the image id 13 stands in line 2 already"),
        (spoil("14 11319", "14 22635"), "line 3: '22635' is no class id from 1 to 22,634"),
        (spoil("14 11319 2", "14 11319 0"), "line 3: '0' is no super class id"),
        (
            spoil("14 11319 2", "14 11319"),
            r"line 3: expected 'image_id class_id super_class_id path', found '14 1",
        ),
        (
            spoil("4189_1.JPG", "4189_0.JPG"),
            r"line 3: the image mug_final/\S+_0\.JPG stands in line 2 already",
        ),
        (spoil("mug_final/1", "/mug_final/1"), "line 2: '/mug_final.* is no path below the folder of images"),
        (spoil("mug_final/111085134189_0.JPG", "."), r"line 2: '\.' is no path below"),
        (lambda folder: (folder / "Ebay_test.txt").unlink(), r"Ebay_test\.txt cannot be read"),
    ],
)
def test_lists_that_cannot_be_are_refused_with_the_line(
    tmp_path: Path, change: Callable[[Path], object], complaint: str
) -> None:
    change(make_online_products(tmp_path))
    with pytest.raises(InvalidInput, match=complaint):
        open_labelled("online-products", tmp_path, "test")
    assert len(open_labelled("online-products", tmp_path, "train")) == 12
