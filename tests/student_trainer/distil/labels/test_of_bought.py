"""All that is known of labelled images goes over to bought ones: numbers, names and pairs."""

from pathlib import Path

import numpy as np
import pytest

from student_trainer.distil.data import TrainingData
from student_trainer.distil.images import SourceImage
from student_trainer.distil.labels import UNLABELLED
from student_trainer.distil.labels.of_bought import unknown_in, with_labels_of

NAMES = ("arch", "bridge", "church", "dome")


def images(*digests: str) -> tuple[SourceImage, ...]:
    return tuple(SourceImage(Path(f"{digest}.jpg"), digest) for digest in digests)


@pytest.fixture
def labelled() -> TrainingData:
    pairs = np.array([[0, 1], [1, 3], [2, 4], [3, 0]])
    return TrainingData(
        images(*"abcdefg"), labels=np.array([3, 3, 1, 3, 1, 0, 2]), pairs=pairs, label_names=NAMES
    )


def test_classes_are_numbered_anew_and_pairs_stand_at_their_rows(labelled: TrainingData) -> None:
    found = with_labels_of(TrainingData(images(*"ecdba")), labelled)
    assert found.labels is not None and found.pairs is not None
    assert found.labels.tolist() == [0, 0, 1, 1, 1]
    assert found.label_names == ("bridge", "dome")
    assert found.pairs.tolist() == [[4, 3], [3, 2], [1, 0], [2, 4]]
    assert labelled.labels is not None and labelled.labels.tolist() == [3, 3, 1, 3, 1, 0, 2]


def test_a_bought_image_that_is_not_among_them_is_without_a_label(labelled: TrainingData) -> None:
    bought = TrainingData(images(*"fxa"))
    found = with_labels_of(bought, labelled)
    assert found.labels is not None and found.pairs is not None
    assert found.labels.tolist() == [0, UNLABELLED, 1]
    assert found.label_names == ("arch", "dome")
    assert found.pairs.shape == (0, 2)
    assert unknown_in(labelled, bought) == [Path("x.jpg")]


def test_of_several_labels_only_those_that_a_bought_image_has_are_kept() -> None:
    rows = np.array([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 1]])
    labelled = TrainingData(images(*"abc"), labels=rows, label_names=NAMES)
    found = with_labels_of(TrainingData(images(*"cxa")), labelled)
    assert found.labels is not None
    assert found.labels.tolist() == [[0, 1], [0, 0], [1, 1]]
    assert found.label_names == ("arch", "dome")
    assert found.pairs is None
