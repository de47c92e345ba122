"""What a refusal offers in the place of an unknown word."""

from student_trainer.nearest import nearest, nearest_or_all


def test_the_nearest_word_is_offered_and_a_strange_one_is_answered_with_nothing() -> None:
    assert nearest("epoch", ["epochs", "seed"]) == " Did you mean 'epochs'?"
    assert nearest("zzz", ["epochs", "seed"]) == ""


def test_up_to_three_near_names_are_offered_or_else_all() -> None:
    names = ["triplet", "asym-triplet", "my-triplet", "rank"]
    assert nearest_or_all("triplet_", names) == " Did you mean 'triplet', 'my-triplet' or 'asym-triplet'?"
    assert nearest_or_all("ranks", names) == " Did you mean 'rank'?"
    assert nearest_or_all("zzz", iter(names)) == " Choose one of: asym-triplet, my-triplet, rank, triplet."
