"""Labels become numbers in the order of their names, and images without one are told apart."""

from student_trainer.distil.labels import UNLABELLED
from student_trainer.distil.labels.class_names import classes_of


def test_numbers_follow_the_names_in_ascending_order() -> None:
    found = classes_of(["tower", "arch", "tower", "dome"])
    assert found.numbers.tolist() == [2, 0, 2, 1]
    assert found.names == ("arch", "dome", "tower")


def test_an_image_without_a_label_has_the_number_of_none() -> None:
    found = classes_of([None, "b", None, "a"])
    assert found.numbers.tolist() == [UNLABELLED, 1, UNLABELLED, 0]
    assert found.names == ("a", "b")


def test_several_labels_of_an_image_make_rows_of_zeros_and_ones_for_all() -> None:
    found = classes_of([("sky", "clouds"), "sky", None])
    assert found.names == ("clouds", "sky")
    assert found.numbers.tolist() == [[1, 1], [0, 1], [0, 0]]


def test_no_label_at_all_gives_no_class() -> None:
    found = classes_of([None, None])
    assert (found.numbers.tolist(), found.names) == ([UNLABELLED, UNLABELLED], ())
