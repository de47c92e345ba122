"""From tables to cells: what is to be trained and measured here, and what has to be left out.

In: tables, and a :class:`Setting`, all that a run was given. Out: for each row and seed its task; rows that
cannot be had, with the reason. Rows of several tables that come to the same cell share it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from shared.extraction import describe
from shared.network import NetworkSpec
from shared.vectors import Float32Rows
from student_trainer.acquire.selection.choice import RANDOM as AT_RANDOM
from student_trainer.acquire.selection.network import open_eye
from student_trainer.distil.data import TrainingData
from student_trainer.distil.preflight import unfitted_objective
from student_trainer.errors import InvalidInput
from student_trainer.recipe import IMAGENET, RANDOM, Recipe, changed, load
from student_trainer.reproduce.definition import Row, Table
from student_trainer.reproduce.measures import Measure
from student_trainer.reproduce.pool import Pool, TooDense
from student_trainer.reproduce.sizes import sizes_here
from student_trainer.trials.cells import Making, Task
from student_trainer.trials.making import Given, Trained, Untrained
from student_trainer.trials.subsets import recipe_for


@dataclass(frozen=True)
class Yardstick:
    """A measure for the students, and the same for the teacher, whose images may have another size."""

    student: Measure
    teacher: Measure


@dataclass(frozen=True)
class Setting:
    """What a run has to work with."""

    students: Mapping[str, Recipe]
    """Architecture -> the recipe that every row starts from."""
    seeds: Sequence[int]
    pool: Pool | None = None
    """What was bought; with labels where they are known of all images."""
    labelled: TrainingData | None = None
    """All labelled training images."""
    no_labels: str = ""
    """Why there are no labels, or none of the bought images."""
    teacher: Path | None = None
    yardsticks: Mapping[str, Yardstick] = field(default_factory=dict)
    """By what a table's ``measures`` names."""
    row_recipes: Mapping[str, str] = field(default_factory=dict)
    """Row -> the recipe that it takes in place of the table's."""
    equal_steps: bool = False
    """As many steps for every training as one on all bought images has, instead of as many epochs."""
    keep_students: bool = False
    sizes: str | None = None
    _seen: dict[str, Float32Rows] = field(default_factory=dict, repr=False)

    def look(self, recipe: Recipe) -> Float32Rows:
        """All bought images as the recipe's student describes them before it learns, [n, d]; done once."""
        assert self.pool is not None
        key = recipe.digest()
        if key not in self._seen:
            paths = [image.path for image in self.pool.data.images]
            size_px, device = recipe.images.longest_side_px, recipe.training.device
            self._seen[key] = describe(open_eye(recipe).network, paths, size_px, device=device)
        return self._seen[key]


@dataclass(frozen=True)
class Line:
    """A row with one student: its tasks by seed, or why there are none."""

    row: Row
    student: str
    measure: Measure | None = None
    tasks: tuple[Task, ...] = ()
    images: int | None = None
    """That were asked for here, in place of the paper's number."""
    left_out: str = ""


def lines_of(table: Table, setting: Setting) -> list[Line]:
    """The rows of a table, in its order, student by student.

    Raises:
        InvalidInput: a row's changes do not fit the recipe, or sizes do not fit.
    """
    declared = [row.images for row in table.rows if row.images is not None]
    sizes = _sizes(table, declared, setting)
    taken: set[str] = set()
    lines = []
    for student, recipe in setting.students.items():
        for row in table.rows:
            if row.network == "teacher" and row.id in taken:
                continue  # one teacher for all students
            taken.add(row.id)
            lines.append(_line(row, student, recipe, table=table, setting=setting, sizes=sizes))
    return lines


def _sizes(table: Table, declared: Sequence[int], setting: Setting) -> dict[int, int]:
    """The paper's number of images -> ours; without those that cannot be had."""
    available = len(setting.pool.data) if setting.pool else max(declared, default=0)
    if table.sizes == "in proportion" or setting.sizes is not None:
        return sizes_here(declared, available, setting.sizes)
    return {number: number for number in declared if number <= available}


def tasks_of(lines: Sequence[Line]) -> list[Task]:
    """Every task once, with all its measures: what needs no training first, then seed by seed.

    So a run that is stopped early has all rows of some seeds. Trainings on the same images follow one
    another, small sets first, and decode them once.
    """
    merged: dict[str, Task] = {}
    for task in (task for line in lines for task in line.tasks):
        known = merged.setdefault(task.making.name, task)
        digests = {measure.digest() for measure in known.measures}
        more = [measure for measure in task.measures if measure.digest() not in digests]
        merged[task.making.name] = replace(known, measures=(*known.measures, *more))
    return sorted(merged.values(), key=_turn)


def _turn(task: Task) -> tuple[int, int, str]:
    making = task.making
    if isinstance(making, Trained):
        return making.seed, len(making.data), making.images_digest
    return (-1, 0, "")


def _line(
    row: Row, student: str, recipe: Recipe, *, table: Table, setting: Setting, sizes: Mapping[int, int]
) -> Line:
    if (why := _missing(row, table, setting, sizes)) is not None:
        return Line(row, student, left_out=why)
    yardstick = setting.yardsticks[table.measures]
    measure = yardstick.teacher if row.network == "teacher" else yardstick.student
    own = _own_recipe(row, recipe, setting)
    changes = changed(own, row.set, f"Row {row.id!r} of {table.name}") if row.set else own
    _check(row, changes, table)
    images = _images(row, setting, sizes)
    try:
        makings = list(_makings(row, changes, recipe, setting, images))
    except TooDense as error:
        return Line(row, student, left_out=str(error))
    tasks = tuple(Task(making, (measure,), keep=setting.keep_students) for making in makings)
    return Line(row, student, measure, tasks, images)


def _own_recipe(row: Row, base: Recipe, setting: Setting) -> Recipe:
    """The base, or with the method of the recipe that the row names; machine and memory stay the base's."""
    name = setting.row_recipes.get(row.id, row.recipe)
    if name is None:
        return base
    method = load(name)
    kept = {key: getattr(base.training, key) for key in ("seed", "chunk_size", "precision", "device")}
    return base.model_copy(
        update={
            "objective": method.objective,
            "training": method.training.model_copy(update=kept),
            "averaging": method.averaging,
        }
    )


def _check(row: Row, recipe: Recipe, table: Table) -> None:
    """Refuse now what would fail in every cell."""
    where = f"Row {row.id!r} of {table.name}"
    try:
        NetworkSpec(recipe.student.arch, recipe.student.pooling)
    except ValueError as error:
        raise InvalidInput(f"{where}: {error}") from None
    weights = recipe.student.weights
    if weights not in (IMAGENET, RANDOM) and not Path(weights).is_file():
        raise InvalidInput(f"{where}: there are no weights {weights}.")
    objective = unfitted_objective(recipe)
    if row.network == "trained" and objective.needs_labels != (row.learns_from != "teacher"):
        needed = "labels" if objective.needs_labels else "the teacher"
        raise InvalidInput(
            f"{where}: the objective {objective.name!r} learns from {needed}, and the row from "
            f"{row.learns_from}: set its learns_from, or another objective.name."
        )


def _missing(row: Row, table: Table, setting: Setting, sizes: Mapping[int, int]) -> str | None:
    """Why a row cannot be had."""
    if table.measures not in setting.yardsticks:
        return f"there is nothing to measure {table.measures} on"
    if row.network == "teacher" and setting.teacher is None:
        return "no teacher checkpoint: --teacher FILE"
    if row.network == "trained" and row.learns_from != "all labels" and setting.pool is None:
        return "it learns from bought images: --transfer-set, a run folder or its transfer_set.sqlite"
    if row.images is not None and row.images not in sizes and setting.pool is not None:
        return f"it needs {row.images:,} images, and {len(setting.pool.data):,} were bought"
    if row.learns_from == "all labels" and setting.labelled is None:
        return setting.no_labels
    if row.learns_from == "labels" and setting.pool is not None and setting.pool.data.labels is None:
        return setting.no_labels
    return None


def _images(row: Row, setting: Setting, sizes: Mapping[int, int]) -> int | None:
    if row.network != "trained":
        return None
    if row.learns_from == "all labels":
        return len(setting.labelled) if setting.labelled else None
    assert setting.pool is not None
    return sizes[row.images] if row.images is not None else len(setting.pool.data)


def _makings(
    row: Row, recipe: Recipe, base: Recipe, setting: Setting, images: int | None
) -> Iterator[Making]:
    if row.network == "teacher":
        assert setting.teacher is not None
        yield Given(setting.teacher)
    elif row.network == "before":
        yield from _before(recipe, setting)
    else:
        assert images is not None
        for seed in setting.seeds:
            data = _lesson(row, base, setting, seed, images)
            yield Trained(_seeded(recipe, base, setting, seed, len(data)), data)


def _before(recipe: Recipe, setting: Setting) -> Iterator[Making]:
    """One where its weights are given; one for each seed where they are random."""
    found = {}
    for seed in setting.seeds:
        training = recipe.training.model_copy(update={"seed": seed})
        pool = setting.pool
        images = pool.part(seed, len(pool.data)) if pool else setting.labelled
        making = Untrained.before(recipe.model_copy(update={"training": training}), images)
        found[making.name] = making
    yield from found.values()


def _lesson(row: Row, base: Recipe, setting: Setting, seed: int, images: int) -> TrainingData:
    """What a row learns from; what it does not look at is left out, so that it decides nothing."""
    if row.learns_from == "all labels":
        assert setting.labelled is not None
        return setting.labelled
    pool = setting.pool
    assert pool is not None
    if row.selection == AT_RANDOM:
        part = pool.part(seed, images, row.sparse)
    else:
        part = pool.selected(seed, images, row.selection, lambda: setting.look(base))
    if row.learns_from == "labels":
        return replace(part, teacher=None, teacher_revision=None)
    return replace(part, labels=None)


def _seeded(recipe: Recipe, base: Recipe, setting: Setting, seed: int, size: int) -> Recipe:
    largest = len(setting.pool.data) if setting.pool else size
    equal = setting.equal_steps and base.training.batch_size == recipe.training.batch_size
    return recipe_for(recipe, seed, size, largest, equal_steps=equal)
