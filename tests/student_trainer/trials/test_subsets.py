"""Parts of a transfer set: nested, drawn by seed, sparse; and the recipe for a part."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from student_trainer.acquire.records import EarlierChoice, PlanFacts
from student_trainer.distil.balanced import BalancedSchedule
from student_trainer.recipe import Recipe
from student_trainer.trials.subsets import choice_is_nested, nested_rows, recipe_for, sparse_rows

DIGESTS = [f"{i:064x}" for i in range(200)]


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


def test_a_cell_s_recipe_differs_by_its_seed_alone_unless_steps_are_to_be_equal() -> None:
    recipe = Recipe.model_validate({"training": {"epochs": 30, "batch_size": 100}})
    same = recipe_for(recipe, 7, 500, 2000, equal_steps=False)
    assert same == recipe.model_copy(update={"training": recipe.training.model_copy(update={"seed": 7})})
    equal = recipe_for(recipe, 7, 500, 2000, equal_steps=True)
    assert equal.training.epochs * 5 == recipe.training.epochs * 20
    assert equal.averaging.epochs == (80, 120)
    assert equal.training.epochs * equal.training.learning_rate_decay == pytest.approx(30 * 0.01)
    assert recipe_for(recipe, 0, 2000, 2000, equal_steps=True) == recipe
    assert recipe_for(recipe, 0, 9000, 2000, equal_steps=True) == recipe  # never shortened


def test_balanced_batches_are_counted_as_the_whole_groups_that_they_hold() -> None:
    recipe = Recipe.model_validate(
        {"training": {"epochs": 30, "batch_size": 64, "sampling": "balanced", "images_per_label": 30}}
    )
    assert recipe.training.images_per_batch == 60
    labels = np.repeat(np.arange(50), 20)

    def steps(size: int) -> int:
        training = recipe_for(recipe, 0, size, 1000, equal_steps=True).training
        return BalancedSchedule.of(labels[:size], training).total_steps

    assert [steps(size) for size in (240, 480, 960)] == [512, 512, 512]


@given(
    epochs=st.integers(1, 40),
    averaged=st.sets(st.integers(1, 40), max_size=4),
    batch_size=st.integers(2, 500),
    size=st.integers(2, 9000),
    largest=st.integers(2, 9000),
)
def test_steps_are_about_equal_never_fewer_than_the_recipe_s_and_the_recipe_stays_a_valid_one(
    epochs: int, averaged: set[int], batch_size: int, size: int, largest: int
) -> None:
    recipe = Recipe.model_validate(
        {
            "training": {"epochs": epochs, "batch_size": batch_size},
            "averaging": {"epochs": [epoch for epoch in averaged if epoch <= epochs]},
        }
    )
    found = recipe_for(recipe, 3, size, largest, equal_steps=True)
    assert Recipe.model_validate(found.model_dump()) == found
    assert found.training.epochs >= epochs
    assert len(found.averaging.epochs) == len(recipe.averaging.epochs)
    an_epoch, of_largest = (-(-images // batch_size) for images in (size, largest))
    if an_epoch <= of_largest:
        assert abs(found.training.epochs * an_epoch - epochs * of_largest) <= an_epoch / 2
    else:
        assert found.training.epochs == epochs


@given(
    seed=st.integers(0, 10_000),
    images=st.integers(1, 40),
    at_most=st.integers(0, 4),
    size=st.integers(1, 40),
    tau=st.floats(-0.5, 0.95),
)
def test_sparse_images_have_few_neighbours_and_none_is_left_out_without_need(
    seed: int, images: int, at_most: int, size: int, tau: float
) -> None:
    random = np.random.default_rng(seed)
    teacher = random.standard_normal((images, 3)).astype(np.float32) * random.uniform(0.5, 2, (images, 1))
    teacher = teacher.astype(np.float32)
    order = random.permutation(images).tolist()
    chosen = sparse_rows(teacher, order, tau, at_most, size)
    assert len(set(chosen)) == len(chosen) <= size
    assert chosen == sorted(chosen, key=order.index)
    assert most_neighbours(teacher, chosen, tau) <= at_most
    if len(chosen) < size:
        for row in set(order) - set(chosen):
            before = [one for one in chosen if order.index(one) < order.index(row)]
            assert most_neighbours(teacher, [*before, row], tau) > at_most


def most_neighbours(teacher: np.ndarray, rows: list[int], tau: float) -> int:
    """Straight from the definition: cosines of all pairs, an image not its own neighbour."""
    counts = [
        sum(
            teacher[a] @ teacher[b] / np.linalg.norm(teacher[a]) / np.linalg.norm(teacher[b]) > tau
            for b in rows
            if b != a
        )
        for a in rows
    ]
    return max(counts, default=0)
