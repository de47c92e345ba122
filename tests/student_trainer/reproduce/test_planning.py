"""Which images and which length the trainings of a table have; nothing is trained to see it."""

from typing import Any

import pytest

from student_trainer.reproduce.arguments import Arguments, MeasureOn
from student_trainer.reproduce.planning import Line
from student_trainer.reproduce.run import planned
from student_trainer.reproduce.wording import sentences
from student_trainer.trials.making import Trained


def given(inputs: Any, **more: Any) -> Arguments:
    return Arguments(
        recipe=str(inputs.recipe),
        transfer_set=inputs.run.root,
        measure_on=MeasureOn(manifest=inputs.manifest, split="test"),
        **more,
    )


def lines(inputs: Any, table: str, **more: Any) -> dict[str, Line]:
    """Row -> its line."""
    found = planned([table], (), given(inputs, **more), inputs.root / "planned")
    return {line.row.id: line for line in found.lines[table]}


def trainings(line: Line) -> list[Trained]:
    makings = [task.making for task in line.tasks]
    assert all(isinstance(making, Trained) for making in makings)
    return makings  # type: ignore[return-value]


def images(line: Line) -> list[set[str]]:
    """Of each seed."""
    return [{image.digest for image in making.data.images} for making in trainings(line)]


def test_sizes_shrink_together_and_each_set_is_a_part_of_the_larger_one(inputs: Any) -> None:
    found = lines(inputs, "table4", seeds=2)
    sizes = [images(found[f"no-aug-{size}"]) for size in (2000, 4000, 8000)]
    for seed in (0, 1):
        small, middle, large = (by_seed[seed] for by_seed in sizes)
        assert [len(small), len(middle), len(large)] == [10, 18, 36]  # 9 would be too few to rank
        assert small < middle < large
    assert sizes[0][0] != sizes[0][1]
    for size, rank in zip((2000, 4000, 8000), sizes, strict=True):
        assert images(found[f"ours-{size}"]) == rank
    named = lines(inputs, "table4", seeds=1, sizes="12,20,36")
    assert [len(images(named[f"ours-{size}"])[0]) for size in (2000, 4000, 8000)] == [12, 20, 36]


@pytest.mark.parametrize(
    ("recipe", "why"),
    [
        ("quick-cpu", "its batches are of 250 images"),
        ("supervised-contrastive", "its steps are of tuples"),
    ],
)
def test_a_row_whose_steps_are_others_has_no_equal_ones_and_is_named(
    inputs: Any, recipe: str, why: str
) -> None:
    row = "ours-2000" if recipe == "quick-cpu" else "contrastive"
    table = "table4" if recipe == "quick-cpu" else "table2"
    wish = given(
        inputs, seeds=1, train_split="train", equal_steps=True, recipe_for=(f"{row}={recipe}",), changes=()
    )
    found = planned([table], (), wish, inputs.root / "planned")
    [own] = [line for line in found.lines[table] if line.row.id == row]
    assert own.own_length == why
    assert trainings(own)[0].recipe.training.epochs == 5  # the recipe's
    said = " ".join(sentences(found.setting, found.lines[table]))
    assert f"{row} ({why})" in said
    assert not any(line.own_length for line in found.lines[table] if line.row.id.startswith("no-aug"))


def test_without_equal_steps_nothing_is_exempt(inputs: Any) -> None:
    found = planned(["table2"], (), given(inputs, seeds=1, train_split="train"), inputs.root / "planned")
    assert not any(line.own_length for line in found.lines["table2"])
    assert "Not as many steps" not in " ".join(sentences(found.setting, found.lines["table2"]))
