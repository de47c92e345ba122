"""``tau = "auto"``: the largest threshold at which enough images have enough neighbours, and it says so."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from student_trainer.distil.threshold import HIGHEST, LOWEST, choose, fitted
from student_trainer.recipe import load


def neighbours_above(teacher: np.ndarray, tau: float) -> np.ndarray:
    units = teacher / np.linalg.norm(teacher, axis=1, keepdims=True)
    similarity = units @ units.T
    np.fill_diagonal(similarity, -1)
    return (similarity > tau).sum(axis=1)


@settings(max_examples=60)
@given(
    images=st.integers(2, 90),
    dim=st.integers(2, 12),
    alike=st.floats(0, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_it_is_the_largest_at_which_half_of_the_images_have_so_many(
    images: int, dim: int, alike: float, seed: int
) -> None:
    teacher = (np.random.default_rng(seed).standard_normal((images, dim)) + alike).astype(np.float32)
    chosen = choose(teacher)
    assert LOWEST <= chosen.tau <= HIGHEST
    assert chosen.tau == round(chosen.tau, 3)
    assert chosen.reached == np.count_nonzero(neighbours_above(teacher, chosen.tau) >= chosen.neighbours)
    if chosen.tau > LOWEST:
        assert 2 * chosen.reached >= images
    if chosen.tau < HIGHEST:
        higher = neighbours_above(teacher, chosen.tau + 1.2e-3)
        assert 2 * np.count_nonzero(higher >= chosen.neighbours) < images


@pytest.mark.parametrize(("images", "neighbours"), [(2, 1), (20, 1), (31, 3), (51, 5), (200, 5)])
def test_small_sets_ask_for_fewer_neighbours(images: int, neighbours: int) -> None:
    rows = np.random.default_rng(0).standard_normal((images, 8)).astype(np.float32)
    assert choose(rows).neighbours == neighbours


def test_loners_do_not_pull_it_down_to_their_own_similarities() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.eye(10, 100), 6, axis=0) + 0.01 * rng.standard_normal((60, 100))
    loners = np.eye(100)[20:70]
    chosen = choose(np.concatenate([groups, loners]).astype(np.float32))
    assert chosen.tau > 0.95
    assert chosen.reached >= 55


def test_the_length_and_the_order_of_the_rows_do_not_matter() -> None:
    rng = np.random.default_rng(3)
    rows = (rng.standard_normal((80, 6)) + 1).astype(np.float32)
    longer = (rows * rng.uniform(0.1, 9, (80, 1))).astype(np.float32)[::-1]
    assert choose(longer) == choose(rows)


@pytest.mark.parametrize("thousandth", [0.25, 0.8, 0.95])
def test_the_rounding_of_another_machine_does_not_change_it(thousandth: float) -> None:
    def of_two_images(similarity: float) -> float:
        return choose(np.array([[1, 0], [similarity, np.sqrt(1 - similarity**2)]], np.float32)).tau

    just_below, just_above = of_two_images(thousandth - 5e-7), of_two_images(thousandth + 5e-7)
    assert just_below == just_above == pytest.approx(thousandth - 0.001)


def test_it_says_what_was_chosen_and_by_which_rule() -> None:
    rows = np.repeat(np.eye(4, dtype=np.float32), 3, axis=0)
    assert choose(rows).sentence() == (
        "tau = 0.999, chosen from the teacher's own similarities: the largest (in thousandths, 0 to 0.999) "
        "above which at least 50% of the 12 images have 1 other; 12 have."
    )


def test_where_nothing_is_similar_it_says_that_the_wish_was_not_met() -> None:
    chosen = choose(np.eye(12, dtype=np.float32))
    assert (chosen.tau, chosen.reached) == (0.0, 0)
    assert "the lowest that is chosen" in chosen.sentence()
    assert chosen.sentence().endswith("but even here only 0 have.")


@pytest.mark.parametrize("rows", [0, 1])
def test_without_two_images_there_is_no_similarity_to_choose_from(rows: int) -> None:
    with pytest.raises(ValueError, match=f"at least 2 descriptors, got {rows}"):
        choose(np.ones((rows, 3), np.float32))


class TestRecipe:
    def test_the_word_gives_way_to_the_number_and_nothing_else_changes(self) -> None:
        rows = np.random.default_rng(1).standard_normal((30, 4)).astype(np.float32)
        recipe, chosen = fitted(load("quick-cpu", ["objective.tau=auto"]), rows)
        assert chosen == choose(rows)
        assert recipe == load("quick-cpu", [f"objective.tau={chosen.tau}"])

    def test_a_recipe_that_states_its_threshold_is_left_alone(self) -> None:
        recipe = load("quick-cpu")
        assert fitted(recipe, np.eye(3, dtype=np.float32)) == (recipe, None)
