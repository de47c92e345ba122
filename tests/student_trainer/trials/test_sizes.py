"""Numbers of images that a user names."""

import pytest

from student_trainer.errors import InvalidInput
from student_trainer.trials.sizes import named_sizes


def test_sizes_are_named_in_any_order_and_count_once() -> None:
    assert named_sizes("320, 40,80,40", 320) == (40, 80, 320)


@pytest.mark.parametrize(
    ("wish", "complaint"),
    [
        ("", "--sizes '' is not a list of whole numbers"),
        ("a,b", "--sizes 'a,b' is not a list of whole numbers"),
        ("9,20", "between 10 and the 200 bought"),
        ("20,201", "between 10 and the 200 bought"),
    ],
)
def test_sizes_that_cannot_be_are_refused(wish: str, complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        named_sizes(wish, 200)
