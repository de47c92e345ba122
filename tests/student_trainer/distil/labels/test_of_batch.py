"""Labels as objectives take them: one class number or several, and who shares one with whom."""

import numpy as np
import pytest
import torch

from student_trainer.distil.labels.of_batch import checked_labels, has_label, share_a_label
from student_trainer.errors import InvalidInput

SEVERAL = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]])


def test_one_number_each_or_rows_of_zeros_and_ones_are_taken() -> None:
    for labels in (torch.tensor([0, -1, 7, 7]), SEVERAL, SEVERAL.bool(), SEVERAL.to(torch.uint8)):
        assert checked_labels(labels, 4, "dch", several=True) is labels


@pytest.mark.parametrize("kind", [torch.int32, torch.int16, torch.int8])
def test_class_numbers_of_any_whole_type_are_taken_as_long(kind: torch.dtype) -> None:
    taken = checked_labels(torch.tensor([0, -1, 7], dtype=kind), 3, "ap")
    assert taken.dtype == torch.long and taken.tolist() == [0, -1, 7]


def test_who_has_a_label_is_asked_of_arrays_too() -> None:
    assert has_label(np.array([0, -1, 7])).tolist() == [True, False, True]
    assert has_label(SEVERAL.numpy()).tolist() == [True, True, True, False]


def test_rows_of_several_labels_are_refused_by_an_objective_that_takes_one() -> None:
    with pytest.raises(InvalidInput, match=r"ap needs labels, long \[4\], but got shape \[4, 4\]"):
        checked_labels(SEVERAL, 4, "ap")


def test_who_has_a_label() -> None:
    assert has_label(torch.tensor([0, -1, 7])).tolist() == [True, False, True]
    assert has_label(SEVERAL).tolist() == [True, True, True, False]


def test_who_shares_one() -> None:
    assert share_a_label(torch.tensor([3, 4, 3])).tolist() == [
        [True, False, True],
        [False, True, False],
        [True, False, True],
    ]
    assert share_a_label(SEVERAL[:3]).tolist() == [
        [True, False, True],
        [False, True, False],
        [True, False, True],
    ]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "but got none"),
        (torch.zeros(4, dtype=torch.bool), "type torch.bool"),
        (torch.zeros(4, dtype=torch.complex64), "type torch.complex64"),
        (torch.zeros(4), "type torch.float32"),
        (torch.zeros(3, dtype=torch.long), r"shape \[3\]"),
        (torch.zeros((4, 2, 2), dtype=torch.long), r"shape \[4, 2, 2\]"),
        (torch.tensor([0, 1, -2, 0]), "labels from -2 to 1"),
        (SEVERAL * 2, "labels from 0 to 2"),
        (-SEVERAL, "labels from -1 to 0"),
    ],
)
def test_anything_else_is_refused(labels: torch.Tensor | None, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        checked_labels(labels, 4, "csq", several=True)


def test_a_batch_of_no_images_is_taken() -> None:
    assert len(checked_labels(torch.zeros(0, dtype=torch.long), 0, "dch")) == 0
    assert len(checked_labels(torch.zeros((0, 3), dtype=torch.long), 0, "dch", several=True)) == 0
