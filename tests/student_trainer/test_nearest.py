"""What a refusal offers in the place of an unknown word."""

from student_trainer.nearest import nearest, nearest_or_all


def test_the_nearest_word_is_offered_and_a_strange_one_is_answered_with_nothing() -> None:
    assert nearest("epoch", ["epochs", "seed"]) == " Did you mean 'epochs'?"
    assert nearest("zzz", ["epochs", "seed"]) == ""


def test_names_that_begin_with_a_word_or_contain_it_are_offered_first() -> None:
    names = ["asym-a", "asym-b", "lmt-absolute", "lmt-relative", "not-lmt", "lmx"]
    expected = " Did you mean 'lmt-absolute', 'lmt-relative', 'not-lmt' or 'lmx'?"
    assert nearest_or_all("lmt", names) == expected
    assert nearest_or_all("asym", names) == " Did you mean 'asym-a' or 'asym-b'?"
    assert nearest_or_all("", ["a", "b"]) == " Choose one of: a, b."


def test_up_to_four_near_names_are_offered_or_else_all() -> None:
    names = ["triplet", "asym-triplet", "my-triplet", "rank"]
    assert nearest_or_all("triplet_", names) == " Did you mean 'triplet', 'my-triplet' or 'asym-triplet'?"
    assert nearest_or_all("ranks", names) == " Did you mean 'rank'?"
    assert nearest_or_all("zzz", iter(names)) == " Choose one of: asym-triplet, my-triplet, rank, triplet."
