"""Before the first step: does the objective get what it needs, and is there anything to be ranked?"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from student_trainer.distil.data import TrainingData
from student_trainer.distil.labels import UNLABELLED
from student_trainer.distil.preflight import (
    check_data,
    make_objective,
    neighbours,
    unfitted_objective,
)
from student_trainer.errors import InvalidInput
from student_trainer.recipe import Recipe, load


def with_teacher(data: TrainingData, vectors: np.ndarray) -> TrainingData:
    return replace(data.take(range(len(vectors))), teacher=vectors.astype(np.float32))


class TestObjective:
    def test_it_is_made_with_the_recipes_settings(self, tiny_recipe_file: Path) -> None:
        objective = make_objective(load(tiny_recipe_file, ["objective.tau=0.6"]))
        assert objective.name == "rank-mixup"
        assert (objective.tau, objective.rounds) == (0.6, 2)  # type: ignore[attr-defined]

    def test_its_seed_follows_the_training_unless_it_has_its_own(self, tiny_recipe_file: Path) -> None:
        follows = make_objective(load(tiny_recipe_file, ["training.seed=7"]))
        own = make_objective(load(tiny_recipe_file, ["training.seed=7", "objective.seed=3"]))
        assert (follows.seed, own.seed) == (7, 3)  # type: ignore[attr-defined]

    def test_a_setting_out_of_range_is_refused(self, tiny_recipe_file: Path) -> None:
        with pytest.raises(InvalidInput, match="tau = 2"):
            make_objective(load(tiny_recipe_file, ["objective.tau=2"]))

    def test_with_tau_still_to_be_chosen_it_is_asked_and_not_trained(self, tiny_recipe_file: Path) -> None:
        recipe = load(tiny_recipe_file, ["objective.tau=auto"])
        assert unfitted_objective(recipe).needs_teacher
        with pytest.raises(ValueError, match="tau is still to be chosen"):
            make_objective(recipe)
        with pytest.raises(InvalidInput, match="rounds = 0"):
            unfitted_objective(load(tiny_recipe_file, ["objective.tau=auto", "objective.rounds=0"]))


class TestData:
    def test_an_objective_with_labels_needs_labels(
        self, bought: TrainingData, tiny_recipe_file: Path
    ) -> None:
        objective = make_objective(load(tiny_recipe_file, ["objective.name=ap"]))
        with pytest.raises(InvalidInput, match=r"'ap' learns from labels.*--manifest FILE"):
            check_data(objective, bought)
        check_data(objective, replace(bought, teacher=None, labels=np.repeat([0, 1], 9)))

    def test_an_objective_for_one_label_each_refuses_several(
        self, bought: TrainingData, tiny_recipe_file: Path
    ) -> None:
        objective = make_objective(load(tiny_recipe_file, ["objective.name=ap"]))
        several = replace(bought, teacher=None, labels=np.ones((18, 3), np.int64))
        with pytest.raises(InvalidInput, match=r"'ap' learns from one label for each image.*have several"):
            check_data(objective, several)
        objective.facts = replace(objective.facts, takes_several_labels=True)
        check_data(objective, several)

    @pytest.mark.parametrize(
        "name", ["ap", "batch-hard-triplet", "lmt-absolute", "lmt-relative", "dch", "csq"]
    )
    @pytest.mark.parametrize(
        "labels", [np.full(18, 3), np.full(18, UNLABELLED), np.repeat([UNLABELLED, 7], 9)]
    )
    def test_fewer_than_two_labels_are_refused(
        self, bought: TrainingData, tiny_recipe_file: Path, name: str, labels: NDArray[np.int64]
    ) -> None:
        objective = unfitted_objective(load(tiny_recipe_file, [f"objective.name={name}"]))
        with pytest.raises(
            InvalidInput, match=rf"'{name}' needs at least 2 labels, and there are [01] among"
        ):
            check_data(objective, replace(bought, labels=labels))

    @pytest.mark.parametrize("name", ["ap", "batch-hard-triplet", "lmt-absolute", "lmt-relative", "dch"])
    def test_labels_no_two_images_of_which_are_the_same_are_refused(
        self, bought: TrainingData, tiny_recipe_file: Path, name: str
    ) -> None:
        objective = unfitted_objective(load(tiny_recipe_file, [f"objective.name={name}"]))
        labels = np.full(18, UNLABELLED)
        labels[[2, 5, 9]] = [0, 1, 2]
        with pytest.raises(InvalidInput, match=r"each of 3 labels has a single one among 3 labelled images"):
            check_data(objective, replace(bought, labels=labels))
        labels[3] = 1
        check_data(objective, replace(bought, labels=labels))

    def test_central_similarity_has_a_centre_for_the_only_image_of_a_label_too(
        self, bought: TrainingData, tiny_recipe_file: Path
    ) -> None:
        objective = unfitted_objective(load(tiny_recipe_file, ["objective.name=csq"]))
        check_data(objective, replace(bought, labels=np.arange(18)))

    @pytest.mark.parametrize("labels", [np.array([0, 1] * 8 + [-7, -1]), -np.ones((18, 3), np.int64)])
    def test_no_number_below_0_but_that_of_no_label_is_a_class(
        self, bought: TrainingData, tiny_recipe: Recipe, labels: NDArray[np.int64]
    ) -> None:
        with pytest.raises(InvalidInput, match=r"labels from -[17] to .*class numbers count from 0"):
            check_data(make_objective(tiny_recipe), replace(bought, labels=labels))

    def test_an_objective_with_a_teacher_needs_descriptors(
        self, bought: TrainingData, tiny_recipe: Recipe
    ) -> None:
        objective = make_objective(tiny_recipe)
        with pytest.raises(InvalidInput, match=r"'rank-mixup' learns from bought descriptors.*fetch"):
            check_data(objective, replace(bought, teacher=None))
        check_data(objective, bought)

    @pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
    def test_a_bought_descriptor_without_a_direction_is_named(
        self, bought: TrainingData, tiny_recipe: Recipe, value: float
    ) -> None:
        assert bought.teacher is not None
        broken = bought.teacher.copy()
        broken[5] = value
        with pytest.raises(InvalidInput, match=r"1 of 18 bought descriptors are zero or not.*/005\.png\. "):
            check_data(make_objective(tiny_recipe), replace(bought, teacher=broken))

    @pytest.mark.parametrize("count", [0, 1])
    def test_a_single_image_cannot_be_ranked(
        self, bought: TrainingData, tiny_recipe: Recipe, count: int
    ) -> None:
        with pytest.raises(InvalidInput, match="a ranking needs at least 2"):
            check_data(make_objective(tiny_recipe), bought.take(range(count)))


class TestNeighbours:
    def test_images_without_a_neighbour_above_tau_are_counted(
        self, bought: TrainingData, tiny_recipe: Recipe
    ) -> None:
        twins = np.eye(5)[[0, 0, 1, 1, 2, 2, 3, 4]]
        found = neighbours(tiny_recipe, with_teacher(bought, twins))
        assert found is not None
        assert (found.images, found.alone, found.threshold) == (8, 2, 0.75)
        assert found.sentence().startswith("2 of 8 images have no other image more similar than tau = 0.75")
        assert "lower the threshold" not in found.sentence()

    def test_when_most_are_alone_a_threshold_that_fits_is_suggested(
        self, bought: TrainingData, tiny_recipe: Recipe
    ) -> None:
        spread = np.eye(8)
        spread[:, 0] += 0.6
        spread /= np.linalg.norm(spread, axis=1, keepdims=True)
        alone = neighbours(tiny_recipe, with_teacher(bought, spread))
        assert alone is not None
        assert 4 < alone.alone <= 8
        assert "--set objective.tau=auto chooses the same" in alone.sentence()
        assert "or choose another objective" in alone.sentence()

    def test_the_suggested_threshold_leaves_at_most_half_of_the_images_alone(
        self, bought: TrainingData, tiny_recipe: Recipe, tiny_recipe_file: Path
    ) -> None:
        spread = np.eye(8) + np.array([0.6, *[0] * 7])
        before = neighbours(tiny_recipe, with_teacher(bought, spread))
        assert before is not None
        tau = float(before.sentence().split("--set objective.tau=")[1].split(",")[0])
        assert tau == before.suggested.tau
        after = neighbours(load(tiny_recipe_file, [f"objective.tau={tau}"]), with_teacher(bought, spread))
        assert after is not None
        assert 2 * after.alone <= after.images
        assert "lower the threshold" not in after.sentence()

    def test_where_no_threshold_would_help_none_is_suggested(
        self, bought: TrainingData, tiny_recipe_file: Path
    ) -> None:
        strangers = np.eye(6)
        found = neighbours(load(tiny_recipe_file, ["objective.tau=0.0"]), with_teacher(bought, strangers))
        assert found is not None
        assert found.alone == 6
        assert "--set" not in found.sentence()
        assert "choose another objective, or buy other images" in found.sentence()

    def test_when_nearly_all_are_neighbours_a_threshold_that_divides_them_is_suggested(
        self, bought: TrainingData, tiny_recipe: Recipe, tiny_recipe_file: Path
    ) -> None:
        alike = 0.3 * np.random.default_rng(0).standard_normal((12, 6)) + [4, 0, 0, 0, 0, 0]
        found = neighbours(tiny_recipe, with_teacher(bought, alike))
        assert found is not None
        assert (found.crowded, found.alone, found.images) == (12, 0, 12)
        assert found.sentence().startswith("12 of 12 images have nearly all others above tau = 0.75")
        assert "the loss is 0 and nothing is learned. Raise the threshold" in found.sentence()
        tau = float(found.sentence().split("--set objective.tau=")[1].split(")")[0])
        assert 0.75 < tau <= found.median < tau + 0.001
        better = neighbours(load(tiny_recipe_file, [f"objective.tau={tau}"]), with_teacher(bought, alike))
        assert better is not None
        assert "Raise the threshold" not in better.sentence()

    def test_a_suggested_threshold_is_always_one_that_an_objective_takes(
        self, bought: TrainingData, tiny_recipe: Recipe
    ) -> None:
        found = neighbours(tiny_recipe, with_teacher(bought, np.ones((5, 4))))
        assert found is not None
        assert "--set objective.tau=0.999)" in found.sentence()

    def test_objectives_without_threshold_and_data_without_teacher_are_not_judged(
        self, bought: TrainingData, tiny_recipe: Recipe, tiny_recipe_file: Path
    ) -> None:
        assert neighbours(load(tiny_recipe_file, ["objective.name=ap"]), bought) is None
        assert neighbours(tiny_recipe, replace(bought, teacher=None)) is None
