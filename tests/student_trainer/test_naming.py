"""Names in messages: all of a few, the first of many."""

from pathlib import Path

from student_trainer.naming import some_names


def test_long_lists_are_cut() -> None:
    assert some_names(["a", "b"]) == "a, b"
    assert some_names([str(n) for n in range(1007)]) == "0, 1, 2, 3, 4 and 1,002 more"


def test_paths_are_cut_where_it_is_asked() -> None:
    assert some_names([Path("a"), Path("b/c"), Path("d")], 3) == "a, b/c, d"
    assert some_names([Path("a"), Path("b/c"), Path("d")], 2) == "a, b/c and 1 more"
