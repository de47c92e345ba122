"""The cells of a curve: nested, drawn by seed, apart from what is held back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from student_trainer.acquire.records import EarlierChoice, PlanFacts
from student_trainer.curve.grid import hold_back, sizes_of
from student_trainer.errors import InvalidInput
from student_trainer.recipe import Recipe
from student_trainer.trials.subsets import choice_is_nested, nested_rows, recipe_for

DIGESTS = [f"{i:064x}" for i in range(200)]


def test_a_fifth_is_held_back_whatever_the_order() -> None:
    learn, held = hold_back(DIGESTS)
    assert (len(learn), len(held)) == (160, 40)
    assert sorted([*learn, *held]) == list(range(200))
    again = hold_back(DIGESTS[::-1])[1]
    assert {DIGESTS[::-1][row] for row in again} == {DIGESTS[row] for row in held}
    assert len(hold_back([f"{i:064x}" for i in range(9_000)])[1]) == 1_000


def test_too_few_to_hold_any_back_are_refused() -> None:
    with pytest.raises(InvalidInput, match="97 descriptors are bought; without labels a curve needs 100 or"):
        hold_back(DIGESTS[:97])


@given(seed=st.integers(0, 1000), size=st.integers(1, 200))
def test_subsets_are_nested_and_every_seed_draws_others(seed: int, size: int) -> None:
    rows = nested_rows(DIGESTS, seed, in_order_of_choice=False)
    assert sorted(rows) == list(range(200))
    assert rows != nested_rows(DIGESTS, seed + 1, in_order_of_choice=False)
    # The rows that a seed takes are the same images, however the transfer set is ordered.
    other = nested_rows(DIGESTS[::-1], seed, in_order_of_choice=False)
    assert [DIGESTS[row] for row in rows[:size]] == [DIGESTS[::-1][row] for row in other[:size]]


def test_a_choice_with_a_first_image_is_cut_where_a_smaller_plan_would_have_ended() -> None:
    assert nested_rows(DIGESTS, 3, in_order_of_choice=True) == list(range(200))
    assert choice_is_nested(PlanFacts("k-center", 0, ""))
    assert choice_is_nested(PlanFacts("density", 0, ""))
    assert not choice_is_nested(PlanFacts("random", 0, ""))
    assert not choice_is_nested(PlanFacts("cluster", 0, ""))
    grown = PlanFacts("k-center", 0, "", earlier=(EarlierChoice("random", 0, "", 9),))
    assert not choice_is_nested(grown)


def test_sizes_are_those_asked_for_or_halves_down_to_an_eighth() -> None:
    assert sizes_of(None, 4000) == (500, 1000, 2000, 4000)
    assert sizes_of(None, 30) == (15, 30)
    assert sizes_of("320, 40,80", 320) == (40, 80, 320)


@pytest.mark.parametrize("wish", ["", "a,b", "9,20", "20,201"])
def test_sizes_that_cannot_be_are_refused(wish: str) -> None:
    with pytest.raises(InvalidInput, match="--sizes"):
        sizes_of(wish, 200)


def test_a_cell_s_recipe_differs_by_its_seed_alone_unless_steps_are_to_be_equal() -> None:
    recipe = Recipe.model_validate({"training": {"epochs": 30, "batch_size": 100}})
    same = recipe_for(recipe, 7, 500, 2000, equal_steps=False)
    assert same == recipe.model_copy(update={"training": recipe.training.model_copy(update={"seed": 7})})
    equal = recipe_for(recipe, 7, 500, 2000, equal_steps=True)
    assert equal.training.epochs * 5 == recipe.training.epochs * 20
    assert equal.averaging.epochs == (80, 120)
    assert equal.training.epochs * equal.training.learning_rate_decay == pytest.approx(30 * 0.01)
    assert recipe_for(recipe, 0, 2000, 2000, equal_steps=True) == recipe
