"""Labels as objectives take them: one class number or several, and who shares one with whom."""

import pytest
import torch

from student_trainer.distil.hashing.classes import checked_labels, has_label, share_a_label
from student_trainer.errors import InvalidInput

SEVERAL = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]])


def test_one_number_each_or_rows_of_zeros_and_ones_are_taken() -> None:
    for labels in (torch.tensor([0, -1, 7, 7]), SEVERAL, SEVERAL.bool(), SEVERAL.to(torch.uint8)):
        assert checked_labels(labels, 4, "dch") is labels


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
        checked_labels(labels, 4, "csq")


def test_a_batch_of_no_images_is_taken() -> None:
    assert len(checked_labels(torch.zeros(0, dtype=torch.long), 0, "dch")) == 0
