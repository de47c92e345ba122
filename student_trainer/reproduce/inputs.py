"""What a run was given on the command line, opened and checked before anything is trained.

In: paths and names. Out: a :class:`student_trainer.reproduce.planning.Setting`, and sentences that say what
was used.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from student_trainer.acquire.manifest import Entry, read_manifest, scan_folder
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.distil.data import TrainingData, add_labels, from_manifest, from_transfer_set
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.gallery import gallery_of
from student_trainer.recipe import Recipe, load
from student_trainer.reproduce.measures import Cost, OnManifest
from student_trainer.reproduce.planning import Setting, Yardstick
from student_trainer.reproduce.pool import Pool
from student_trainer.run_folder import RunFolder
from student_trainer.trials.subsets import choice_is_nested
from student_trainer.trials.yardsticks import Labelled, threshold

TIMED_IMAGES = 20


@dataclass(frozen=True)
class Arguments:
    """The words of the command line."""

    recipe: str
    changes: tuple[str, ...]
    students: tuple[str, ...]
    """``ARCH`` or ``ARCH=WEIGHTS``; empty: the recipe's own."""
    transfer_set: Path | None
    manifest: Path | None
    split: str | None
    train_split: str | None
    teacher: Path | None
    image_size: int | None
    teacher_image_size: int | None
    scales: tuple[float, ...]
    seeds: int
    sizes: str | None
    equal_steps: bool
    keep_students: bool


def open_setting(given: Arguments) -> Setting:
    """Open everything that was named.

    Raises:
        InvalidInput: something is missing, cannot be read or does not fit.
        StorageFailed: the transfer set is damaged.
    """
    recipes = _students(given)
    recipe = next(iter(recipes.values()))
    if given.teacher is not None and not given.teacher.is_file():
        raise InvalidInput(f"There is no teacher checkpoint {given.teacher}.")
    pool = _pool(given.transfer_set, recipe) if given.transfer_set else None
    labelled, why = _labels(given)
    if labelled is not None and pool is not None:
        pool, why = _with_labels(pool, given)
    first = recipe.training.seed
    return Setting(
        students=recipes,
        seeds=range(first, first + given.seeds),
        pool=pool,
        labelled=labelled,
        no_labels=why,
        teacher=given.teacher,
        yardsticks=_yardsticks(given, recipe),
        equal_steps=given.equal_steps,
        keep_students=given.keep_students,
        sizes=given.sizes,
    )


def sentences(given: Arguments, setting: Setting) -> list[str]:
    """What was used here, for the page."""
    recipe = next(iter(setting.students.values()))
    training = recipe.training
    length = "as many steps as one on all bought images" if given.equal_steps else f"{training.epochs} epochs"
    said = [
        f"Recipe {given.recipe}"
        + (f" with {', '.join(given.changes)}" if given.changes else "")
        + f": images of {recipe.images.longest_side_px} px, batches of at most {training.batch_size:,}, "
        f"{length} for every row, learning rate {training.learning_rate:g}.",
    ]
    if setting.pool is not None:
        order = (
            "the first that were chosen" if setting.pool.in_order_of_choice else "drawn anew for each seed"
        )
        said.append(
            f"{len(setting.pool.data):,} images were bought; smaller sets are nested in larger ones, {order}."
        )
    if setting.labelled is not None:
        said.append(f"Supervised rows with all labels learn from {len(setting.labelled):,} images.")
    return said


def _students(given: Arguments) -> dict[str, Recipe]:
    if not given.students:
        recipe = load(given.recipe, given.changes)
        return {recipe.student.arch: recipe}
    recipes = {}
    for student in given.students:
        arch, equals, weights = student.partition("=")
        chosen = [f"student.arch={arch}", *([f"student.weights={weights}"] if equals else [])]
        recipes[arch] = load(given.recipe, [*given.changes, *chosen])
    return recipes


def _pool(path: Path, recipe: Recipe) -> Pool:
    file = RunFolder(path).transfer_set if path.is_dir() else path
    if not file.is_file():
        raise InvalidInput(
            f"There is no transfer set {file}. Buy one with: student-trainer plan, then student-trainer fetch"
        )
    data = from_transfer_set(file, partial=True)
    with TransferSet.open(file) as transfer_set:
        nested = choice_is_nested(transfer_set.facts)
    return Pool(data, nested, threshold(recipe, data))


def _labels(given: Arguments) -> tuple[TrainingData | None, str]:
    if given.manifest is None or given.train_split is None:
        return None, "no labels to learn from: --manifest FILE --train-split NAME"
    return from_manifest(given.manifest, given.train_split), ""


def _with_labels(pool: Pool, given: Arguments) -> tuple[Pool, str]:
    """Labels of the bought images, where the manifest knows every one."""
    assert given.manifest is not None
    try:
        return replace(pool, data=add_labels(pool.data, given.manifest, given.train_split)), ""
    except InvalidInput as error:
        return pool, str(error)


def _yardsticks(given: Arguments, recipe: Recipe) -> dict[str, Yardstick]:
    if given.manifest is None:
        return {}
    gallery = gallery_of(_entries(given.manifest, given.split))
    size_px = given.image_size or recipe.images.longest_side_px
    teacher_px = given.teacher_image_size or size_px
    device = recipe.training.device
    labelled = Labelled(gallery, given.manifest.name, size_px, device, given.scales)
    cost = Cost(gallery.paths[:TIMED_IMAGES], size_px, device)
    return {
        "retrieval": Yardstick(
            OnManifest(labelled), OnManifest(replace(labelled, longest_side_px=teacher_px))
        ),
        "cost": Yardstick(cost, replace(cost, longest_side_px=teacher_px)),
    }


def _entries(manifest: Path, split: str | None) -> Sequence[Entry]:
    if not manifest.is_dir():
        return read_manifest(manifest, split)
    if split is not None:
        raise InvalidInput(f"{manifest} is a folder and has no splits: give a CSV manifest, or drop --split.")
    return scan_folder(manifest)
