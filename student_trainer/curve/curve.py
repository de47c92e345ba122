"""The curve of a run: every cell trained and measured, and what they say together.

In: a recipe, bought descriptors, sizes and seeds, a yardstick. Out: a :class:`Curve`. No query is spent.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from student_trainer.acquire.records import PlanFacts
from student_trainer.acquire.selection.choice import METHODS, RANDOM
from student_trainer.curve import cells
from student_trainer.curve.cells import Task
from student_trainer.curve.document import Cell, Curve
from student_trainer.curve.grid import nested_rows, recipe_for
from student_trainer.curve.verdict import judge
from student_trainer.curve.yardsticks import Measure
from student_trainer.distil.data import TrainingData
from student_trainer.recipe import Recipe


@dataclass(frozen=True)
class Plan:
    """What to train: each size with each seed."""

    recipe: Recipe
    data: TrainingData
    """What can be learned from, in the order of choice."""
    measure: Measure
    sizes: Sequence[int]
    seeds: Sequence[int]
    in_order_of_choice: bool
    equal_steps: bool

    def tasks(self) -> list[Task]:
        """Seed by seed, so that a curve that is stopped early has all sizes of some seeds."""
        return [self._task(size, seed) for seed in self.seeds for size in self.sizes]

    def _task(self, size: int, seed: int) -> Task:
        digests = [image.digest for image in self.data.images]
        rows = nested_rows(digests, seed, in_order_of_choice=self.in_order_of_choice)[:size]
        largest = max(self.sizes)
        recipe = recipe_for(self.recipe, seed, size, largest, equal_steps=self.equal_steps)
        return Task(recipe, self.data.take(sorted(rows)), self.measure, measure_before=size == largest)


def choice_is_nested(facts: PlanFacts) -> bool:
    """Whether a smaller plan would have bought the first of these images.

    Then the subsets are those. A random choice has no first: any subset of it is as good a smaller plan, and
    drawing another for each seed shows how much the choice matters.
    """
    return facts.strategy != RANDOM and METHODS[facts.strategy].nested and not facts.earlier


def trace(
    plan: Plan, root: Path, bought: TrainingData, teacher: float | None, say: Callable[[str], None]
) -> Curve:
    """Run what is not finished, and put the curve together.

    Args:
        plan: what to train.
        root: folder of the cells.
        bought: all of the transfer set, what is held back included.
        teacher: its own quality, where known.
        say: told of every cell.

    Raises:
        TrainerError: from the cell that failed; running again continues there.
    """
    tasks, done = plan.tasks(), []
    for number, task in enumerate(tasks, 1):
        where = f"[{number}/{len(tasks)}] {len(task.data):,} queries, seed {task.recipe.training.seed}"
        cell = cells.finished(task, root)
        if cell is None:
            say(f"{where} ...")
            cell = cells.run(task, root)
        say(f"{where}: {plan.measure.drawn} {cell.quality:.3f}")
        done.append(cell)
    return _together(plan, done, bought, teacher)


def _together(plan: Plan, done: Sequence[Cell], bought: TrainingData, teacher: float | None) -> Curve:
    words = plan.measure.words
    by_size = {
        size: {cell.seed: cell.quality for cell in done if cell.queries == size} for size in plan.sizes
    }
    befores = [cell.before for cell in done if cell.before is not None]
    before = fmean(befores) if befores else None
    return Curve(
        yardstick=words,
        subsets=_subsets(plan),
        training=_training(plan),
        bought=len(bought),
        cells=tuple(done),
        before=before,
        teacher=teacher,
        verdict=judge(by_size, words.name, before),
        recipe=plan.recipe.digest(),
        transfer_set=bought.transfer_set_digest,
    )


def _subsets(plan: Plan) -> str:
    if plan.in_order_of_choice:
        return "Each size is the first so many images that were chosen; seeds differ in the training alone."
    return (
        "Each size contains the smaller ones; every seed draws other images, but for a size that takes all, "
        "whose seeds differ in the training alone."
    )


def _training(plan: Plan) -> str:
    if plan.equal_steps:
        return "Every size trains for as many steps as the largest."
    return f"Every size trains for {plan.recipe.training.epochs} epochs, so fewer images mean fewer steps."
