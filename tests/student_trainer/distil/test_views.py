"""A step sees the same pixels in both passes, whoever shares it; the next step sees others."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shared.checkpoints import load_network, read_notes
from shared.images import load_pixels
from student_trainer.distil.batches import BatchSource
from student_trainer.distil.data import TrainingData
from student_trainer.distil.images import open_store
from student_trainer.distil.processes import Processes
from student_trainer.distil.train import train
from student_trainer.distil.views import WIDEST, RandomView, StudentViews, preprocessing_in_use
from student_trainer.errors import InvalidInput
from student_trainer.recipe import Recipe, load
from student_trainer.run_folder import RunFolder

CROPS = ["images.shortest_side_px=32", "images.crop_px=24", "images.flip=true"]
EVERY = np.arange(18)


@pytest.fixture
def source(bought: TrainingData, tiny_recipe_file: Path, tmp_path: Path) -> Callable[..., BatchSource]:
    """Batches of the small world, under changes of the recipe."""

    def make(*changes: str, processes: Processes | None = None) -> BatchSource:
        recipe = load(tiny_recipe_file, changes)
        store = open_store(tmp_path / "cache", bought.images, preprocessing_in_use(recipe))
        made = BatchSource(
            store,
            bought,
            preprocessing_in_use(recipe),
            recipe.training.chunk_size,
            torch.device("cpu"),
            views=StudentViews.of(recipe),
        )
        return made if processes is None else replace(made, processes=processes)

    return make


def shown(
    source: BatchSource, batch: Sequence[int] | np.ndarray, step: int | None
) -> dict[int, torch.Tensor]:
    """What each place of the batch is shown."""
    return {
        position: image
        for chunk in source.chunks(np.asarray(batch), step)
        for position, image in zip(chunk.positions.tolist(), chunk.images, strict=True)
    }


def same(one: dict[int, torch.Tensor], other: dict[int, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[place], other[place]) for place in one)


class TestSteps:
    def test_both_passes_of_a_step_see_the_same_pixels_and_the_next_step_others(
        self, source: Callable[..., BatchSource]
    ) -> None:
        batches = source(*CROPS)
        assert same(shown(batches, EVERY, 3), shown(batches, EVERY, 3))
        other = shown(batches, EVERY, 4)
        assert sum(torch.equal(image, other[place]) for place, image in shown(batches, EVERY, 3).items()) == 0

    def test_another_seed_sees_other_pixels(self, source: Callable[..., BatchSource]) -> None:
        one, other = source(*CROPS), source(*CROPS, "training.seed=1")
        assert not same(shown(one, EVERY, 3), shown(other, EVERY, 3))

    def test_chunks_of_any_size_and_several_processes_see_what_one_sees(
        self, source: Callable[..., BatchSource]
    ) -> None:
        whole = shown(source(*CROPS), EVERY, 5)
        assert same(shown(source(*CROPS, "training.chunk_size=7"), EVERY, 5), whole)
        shares = [shown(source(*CROPS, processes=Processes(rank, 3)), EVERY, 5) for rank in range(3)]
        assert sum(map(len, shares)) == len(EVERY)
        assert same({place: image for share in shares for place, image in share.items()}, whole)

    def test_crops_of_photographs_of_many_shapes_make_full_chunks(
        self, source: Callable[..., BatchSource]
    ) -> None:
        sizes = [len(chunk.positions) for chunk in source(*CROPS, "training.chunk_size=8").chunks(EVERY, 1)]
        assert sizes == [8, 8, 2]

    def test_in_use_the_middle_square_is_shown(
        self, source: Callable[..., BatchSource], bought: TrainingData
    ) -> None:
        batches = source(*CROPS)
        found = shown(replace(batches, enter=lambda values, _: values.permute(0, 3, 1, 2)), EVERY, None)
        for place, image in found.items():
            pixels = load_pixels(bought.images[place].path, batches.preprocessing)
            assert np.array_equal(image.permute(1, 2, 0).numpy(), pixels)

    def test_without_views_every_step_is_shown_the_decoded_images(
        self, source: Callable[..., BatchSource]
    ) -> None:
        batches = source()
        assert same(shown(batches, EVERY, 1), shown(batches, EVERY, None))

    def test_about_half_of_the_images_are_mirrored_and_nothing_else_is_changed(
        self, source: Callable[..., BatchSource]
    ) -> None:
        batches = source("images.flip=true")
        plain, turned = shown(batches, EVERY, None), 0
        for step in range(1, 21):
            for place, image in shown(batches, EVERY, step).items():
                mirrored = torch.equal(image, plain[place].flip(-1))
                assert mirrored or torch.equal(image, plain[place])
                turned += mirrored
        assert 140 <= turned <= 220  # of 360; five standard deviations are 47


class TestParts:
    @given(st.integers(1, 60), st.integers(1, 60), st.floats(0.01, 1), st.integers(0, 10_000))
    def test_a_part_lies_within_the_image_and_is_of_a_ratio_that_is_allowed(
        self, width: int, height: int, least_area: float, seed: int
    ) -> None:
        views = StudentViews(seed, 8, least_area).in_training(1, 1)
        assert isinstance(views, RandomView)
        left, top, part_width, part_height = views.box(0, (height, width, 3))
        assert 0 <= left <= width - part_width and 0 <= top <= height - part_height
        # Rounding to whole pixels moves each side by one half at most.
        assert (part_width - 1) <= WIDEST * (part_height + 1) and (part_height - 1) <= WIDEST * (
            part_width + 1
        )

    def test_parts_reach_every_corner_and_have_all_areas_from_the_least_to_the_whole(self) -> None:
        views = StudentViews(0, 8, 0.08).in_training(1, 4000)
        assert isinstance(views, RandomView)
        boxes = np.array([views.box(place, (100, 100, 3)) for place in range(4000)])
        shares = boxes[:, 2] * boxes[:, 3] / 10_000
        assert 0.07 < shares.min() < 0.09 and shares.max() > 0.95
        assert 0.45 < np.median(shares) < 0.55  # uniform from 0.08 to 1, but for the widest of the largest
        assert boxes[:, :2].min() == 0 and (boxes[:, 0] + boxes[:, 2]).max() == 100
        ratios = np.log(boxes[:, 2] / boxes[:, 3])
        assert abs(ratios.mean()) < 0.02 and ratios.min() < -0.25 and ratios.max() > 0.25

    def test_an_image_that_no_part_of_an_allowed_ratio_fills_gives_its_middle(self) -> None:
        views = StudentViews(0, 8, 1.0).in_training(1, 1)
        assert isinstance(views, RandomView)
        assert views.box(0, (10, 100, 3)) == (43, 0, 13, 10)

    def test_the_least_area_of_1_in_a_square_shows_the_whole_image_resized(self) -> None:
        views = RandomView(np.full((1, 41), 0.5), 8, 1.0, flip=True)
        pixels = np.random.default_rng(2).integers(0, 256, (16, 16, 3)).astype(np.uint8)
        resized = Image.fromarray(pixels).resize((8, 8), Image.Resampling.BILINEAR)
        assert np.array_equal(views.apply(0, pixels), np.asarray(resized))


class TestTrainings:
    def recipe(self, file: Path) -> Recipe:
        return load(file, [*CROPS, "images.degrade=downsample:2"])

    def test_a_training_that_was_killed_ends_at_the_same_bits(
        self, bought: TrainingData, tiny_recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recipe = self.recipe(tiny_recipe_file)
        whole, broken = RunFolder.create(tmp_path / "whole"), RunFolder.create(tmp_path / "broken")
        train(recipe, bought, whole)
        from student_trainer.distil.step import take_step

        def dying(state, moment, *args, **options):  # type: ignore[no-untyped-def]
            if moment.step == 4:
                raise ZeroDivisionError
            return take_step(state, moment, *args, **options)

        with monkeypatch.context() as patch:
            patch.setattr("student_trainer.distil.train.take_step", dying)
            with pytest.raises(ZeroDivisionError):
                train(recipe, bought, broken)
        train(recipe, bought, broken)
        ours, theirs = (load_network(run.student).state_dict() for run in (broken, whole))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
        assert "the middle 24 x 24 px, down-sampled by 2" in read_notes(whole.student)["view"]

    def test_a_recipe_without_views_has_the_digest_that_it_had(self, tiny_recipe_file: Path) -> None:
        document = load(tiny_recipe_file).model_dump(mode="json")
        with_words = load(tiny_recipe_file, ["images.flip=false", "images.crop_px=0", "images.degrade="])
        assert with_words.digest() == load(tiny_recipe_file).digest()
        for change in (
            *CROPS[:1],
            "images.flip=true",
            "images.degrade=crop:0.5",
            "images.crop_least_area=0.5",
        ):
            assert load(tiny_recipe_file, [change]).digest() != load(tiny_recipe_file).digest(), change
        assert document["images"]["flip"] is False

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            (["images.crop_px=24"], r"images\.crop_px = 24 needs images of which every side is as long"),
            (
                ["images.shortest_side_px=32", "images.side_multiple_px=8"],
                r"images\.shortest_side_px gives the shortest",
            ),
            (
                ["images.degrade=downsample:2", "images.side_multiple_px=8"],
                r"is for sides that are not rounded",
            ),
            (["images.degrade=blur:2"], r"'blur:2' is no degradation"),
            ([*CROPS, "student.trained_from=5"], r"student\.trained_from = 5 computes the features .* once"),
            (["images.flip=true", "student.trained_from=5"], r"random views .* give other pixels"),
        ],
    )
    def test_views_that_do_not_go_together_are_refused(
        self, tiny_recipe_file: Path, changes: list[str], reason: str
    ) -> None:
        with pytest.raises(InvalidInput, match=reason):
            load(tiny_recipe_file, changes)

    def test_kept_features_go_with_views_that_stay_the_same(
        self, bought: TrainingData, tiny_recipe_file: Path, tmp_path: Path
    ) -> None:
        changes = ["student.trained_from=10", "images.shortest_side_px=32", "images.degrade=crop:0.7"]
        recipe = load(tiny_recipe_file, [*changes, "training.epochs=1", "averaging.epochs=[]"])
        assert train(recipe, bought, RunFolder.create(tmp_path / "run")).steps == 2
