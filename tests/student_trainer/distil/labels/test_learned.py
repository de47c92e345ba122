"""The names of the labels that a student learned from are kept beside it, and nowhere else."""

from pathlib import Path

import numpy as np
import pytest

from student_trainer.distil.data import TrainingData
from student_trainer.distil.images import SourceImage
from student_trainer.distil.labels.learned import keep_learned_labels, learned_labels, read_learned_labels
from student_trainer.errors import InvalidInput

NAMES = ("arch", "dome", "tower")


def data(labels: list[int] | list[list[int]], names: tuple[str, ...] | None = NAMES) -> TrainingData:
    images = tuple(SourceImage(Path(f"{n}.jpg"), f"{n:064x}") for n in range(len(labels)))
    return TrainingData(images, labels=np.array(labels), label_names=names)


def test_only_labels_that_an_image_of_the_training_has_are_kept() -> None:
    assert learned_labels(data([2, 0, 2, -1])) == ("arch", "tower")
    assert learned_labels(data([2, 0, 2, -1]).take([1, 3])) == ("arch",)
    assert learned_labels(data([[0, 1, 1], [0, 0, 0]])) == ("dome", "tower")


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    keep_learned_labels(tmp_path / "labels.json", data([0, 1, 1]))
    assert read_learned_labels(tmp_path / "labels.json") == {"arch", "dome"}
    assert [path.name for path in tmp_path.iterdir()] == ["labels.json"]


def test_a_training_without_labels_leaves_no_file_and_removes_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    keep_learned_labels(path, data([0, 1]))
    keep_learned_labels(path, data([0, 1], names=None))
    assert not path.exists()
    assert read_learned_labels(path) is None


@pytest.mark.parametrize("content", ["", "[]", '{"format": "other", "labels": []}', '{"labels": "x"}', "{"])
def test_another_file_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(content)
    with pytest.raises(InvalidInput, match=r"labels\.json .*Remove it, or train again"):
        read_learned_labels(path)
