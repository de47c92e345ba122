"""The curve of a run: every cell trained and measured, and what they say together.

In: a recipe, bought descriptors, sizes and seeds, a yardstick. Out: a :class:`Curve`. No query is spent.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from student_trainer.curve.document import Cell, Curve
from student_trainer.curve.verdict import judge
from student_trainer.distil.data import TrainingData
from student_trainer.recipe import Recipe
from student_trainer.trials import cells, records
from student_trainer.trials.cells import Task
from student_trainer.trials.making import Trained, Untrained
from student_trainer.trials.subsets import nested_rows, recipe_for
from student_trainer.trials.yardsticks import Yardstick


@dataclass(frozen=True)
class Plan:
    """What to train: each size with each seed."""

    recipe: Recipe
    data: TrainingData
    """What can be learned from, in the order of choice."""
    measure: Yardstick
    sizes: Sequence[int]
    seeds: Sequence[int]
    in_order_of_choice: bool
    equal_steps: bool

    def trainings(self) -> list[Trained]:
        """Seed by seed, so that a curve that is stopped early has all sizes of some seeds."""
        return [self._training(size, seed) for seed in self.seeds for size in self.sizes]

    def _training(self, size: int, seed: int) -> Trained:
        digests = [image.digest for image in self.data.images]
        rows = nested_rows(digests, seed, in_order_of_choice=self.in_order_of_choice)[:size]
        recipe = recipe_for(self.recipe, seed, size, max(self.sizes), equal_steps=self.equal_steps)
        return Trained(recipe, self.data.take(sorted(rows)))


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
    trainings, done = plan.trainings(), []
    for number, training in enumerate(trainings, 1):
        where = f"[{number}/{len(trainings)}] {len(training.data):,} queries, seed {training.seed}"
        task = Task(training, (plan.measure,))
        if task.unmeasured(root):
            say(f"{where} ...")
        measured = _finished(task, root)
        before = None
        if len(training.data) == max(plan.sizes):
            untrained = Untrained.before(training.recipe, training.data)
            before = _finished(Task(untrained, (plan.measure,)), root).measures[plan.measure.drawn]
        cell = Cell(
            queries=len(training.data),
            seed=training.seed,
            quality=measured.measures[plan.measure.drawn],
            measures=measured.measures,
            before=before,
            epochs=measured.epochs,
            steps=measured.steps,
        )
        say(f"{where}: {plan.measure.drawn} {cell.quality:.3f}")
        done.append(cell)
    return _together(plan, done, bought, teacher)


def _finished(task: Task, root: Path) -> records.Cell:
    """Run it unless that was done before."""
    cells.run(task, root)
    [measure] = task.measures
    found = task.finished(root, measure)
    assert found is not None  # its records were written, or an error was raised
    return found


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
