"""How many labels there are, how many images each has, and whether that can teach anything."""

import numpy as np
import pytest

from student_trainer.distil.labels.counts import LabelCounts, learns_from_positives, single_images
from student_trainer.distil.objectives import get


@pytest.mark.parametrize(
    ("labels", "counts"),
    [
        (np.array([4, 4, -1, 2, 7, 7, -1]), LabelCounts(images=5, labels=3, with_one_image=1)),
        (np.full(3, -1), LabelCounts(images=0, labels=0, with_one_image=0)),
        (
            np.array([[1, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]),
            LabelCounts(images=2, labels=2, with_one_image=1),
        ),
    ],
)
def test_labels_and_their_images_are_counted_where_images_have_one_label_or_several(
    labels: np.ndarray, counts: LabelCounts
) -> None:
    assert LabelCounts.of(labels) == counts


def test_only_what_pulls_images_of_a_label_together_learns_from_positives() -> None:
    assert all(learns_from_positives(get(name)()) for name in ("ap", "lmt-relative", "triplet", "dch"))
    assert not any(learns_from_positives(get(name)()) for name in ("csq", "rank", "hint"))


def test_a_label_with_one_image_is_said_to_be_a_negative_alone() -> None:
    assert single_images(0) is None
    assert "single image: 1,200. Such an image can be a negative" in str(single_images(1200))
