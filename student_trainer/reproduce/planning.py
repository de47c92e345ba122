"""From tables to cells: what is to be trained and measured here, and what has to be left out.

In: tables, and a :class:`student_trainer.reproduce.setting.Setting`. Out: for each row and seed its task;
rows that cannot be had, with the reason. Rows of several tables that come to the same cell share it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from student_trainer.distil.preflight import unfitted_objective
from student_trainer.errors import InvalidInput
from student_trainer.recipe import Recipe
from student_trainer.reproduce.definition import Row, Table
from student_trainer.reproduce.lengths import own_length, recipe_of_cell
from student_trainer.reproduce.lessons import Lesson, lesson_of
from student_trainer.reproduce.measures import TableMeasure
from student_trainer.reproduce.pool import TooDense
from student_trainer.reproduce.row_recipes import recipe_of_row
from student_trainer.reproduce.setting import Setting
from student_trainer.reproduce.sizes import sizes_here
from student_trainer.trials.cells import Making, Task
from student_trainer.trials.making import Given, Trained, Untrained


@dataclass(frozen=True)
class Line:
    """A row with one student: its tasks by seed, or why there are none."""

    row: Row
    student: str
    measure: TableMeasure | None = None
    tasks: tuple[Task, ...] = ()
    images: int | None = None
    """That were asked for here, in place of the paper's number."""
    recipe: Recipe | None = None
    """Of its trainings, before seed and length are set; None where nothing is trained."""
    left_out: str = ""
    own_length: str = ""
    """Why it does not have as many steps as the others, where these are to be equal."""


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
    wish = setting.given.sizes
    if table.sizes == "in proportion" or wish is not None:
        return sizes_here(declared, available, wish)
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


def names_of(lines: Mapping[str, Sequence[Line]]) -> dict[str, str]:
    """Cell -> what it is for, ``table2: no-aug, seed 0``; several rows that share it with a semicolon.

    Args:
        lines: by table.
    """
    several = len({line.student for of_table in lines.values() for line in of_table}) > 1
    names: dict[str, list[str]] = {}
    for table, of_table in lines.items():
        for line in of_table:
            whose = [line.student] if several and line.row.network != "teacher" else []
            for task in line.tasks:
                seed = [] if task.making.seed is None else [f"seed {task.making.seed}"]
                name = f"{table}: {', '.join([line.row.id, *whose, *seed])}"
                names.setdefault(task.making.name, []).append(name)
    return {cell: "; ".join(found) for cell, found in names.items()}


def _turn(task: Task) -> tuple[int, int, str]:
    making = task.making
    if isinstance(making, Trained):
        return making.seed, len(making.data), making.images_digest
    return (-1, 0, "")


def _line(
    row: Row, student: str, base: Recipe, *, table: Table, setting: Setting, sizes: Mapping[int, int]
) -> Line:
    measured = setting.measured
    if table.measures not in measured.measures:
        nothing = f"there is nothing to measure {table.measures} on"
        return Line(row, student, left_out=measured.left_out.get(table.measures, nothing))
    pair = measured.measures[table.measures]
    if row.network == "teacher":
        return _of_teacher(row, student, pair.teacher, setting)
    lesson = lesson_of(row, base, setting, sizes, beside_strategies=table.compares_selections)
    if row.network == "trained" and (why := lesson.missing()):
        return Line(row, student, left_out=why)
    recipe = recipe_of_row(row, base, setting, table.name)
    if row.network == "before":
        return _planned(Line(row, student, pair.student), _before(recipe, setting), setting)
    _check_objective(row, recipe, lesson, table)
    images = lesson.images()
    own = own_length(recipe, base, images, setting)
    line = Line(row, student, pair.student.of(recipe), images=images, recipe=recipe, own_length=own)
    try:
        return _planned(line, _trained(recipe, lesson, setting, own), setting)
    except TooDense as error:
        return Line(row, student, left_out=str(error))


def _planned(line: Line, makings: Iterator[Making], setting: Setting) -> Line:
    assert line.measure is not None
    keep = setting.given.keep_students
    return replace(line, tasks=tuple(Task(making, (line.measure,), keep=keep) for making in makings))


def _of_teacher(row: Row, student: str, measure: TableMeasure, setting: Setting) -> Line:
    checkpoint = setting.given.teacher
    if checkpoint is None:
        return Line(row, student, left_out="no teacher checkpoint: --teacher FILE")
    return _planned(Line(row, student, measure), iter([Given(checkpoint)]), setting)


def _trained(recipe: Recipe, lesson: Lesson, setting: Setting, own: str) -> Iterator[Making]:
    for seed in setting.seeds:
        data = lesson.data(seed)
        yield Trained(recipe_of_cell(recipe, seed, len(data), setting, own_length=own), data)


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


def _check_objective(row: Row, recipe: Recipe, lesson: Lesson, table: Table) -> None:
    """Refuse now what would fail in every cell."""
    objective = unfitted_objective(recipe)
    if (objective.needs_labels, objective.needs_teacher) != (lesson.needs_labels, lesson.needs_teacher):
        wanted = {"labels": objective.needs_labels, "the teacher": objective.needs_teacher}
        needed = " and ".join(what for what, is_needed in wanted.items() if is_needed)
        raise InvalidInput(
            f"Row {row.id!r} of {table.name}: the objective {objective.name!r} learns from {needed}, and the "
            f"row from {row.learns_from}: set its learns_from, or another objective.name."
        )
