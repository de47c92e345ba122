"""What a run was given on the command line, opened and checked before anything is trained.

In: paths and names. Out: a :class:`student_trainer.reproduce.setting.Setting`. Images are known by their
bytes: a student is not measured on labelled images that another student learned all labels from.
"""

from dataclasses import replace
from pathlib import Path

from shared.checkpoints import weights_digest
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.distil.data import TrainingData, from_manifest, from_sfm120k, from_transfer_set
from student_trainer.distil.labels.of_bought import unknown_in, with_labels_of
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.benchmark import stated
from student_trainer.evaluate.contestant import require_checkpoint
from student_trainer.recipe import Recipe, load
from student_trainer.reproduce.arguments import Arguments
from student_trainer.reproduce.measures import readable
from student_trainer.reproduce.pool import Pool
from student_trainer.reproduce.setting import Setting
from student_trainer.reproduce.yardsticks import Yardsticks, yardsticks
from student_trainer.run_folder import transfer_set_file
from student_trainer.trials.file_digests import FileDigests
from student_trainer.trials.subsets import bought_in_order
from student_trainer.trials.yardsticks import threshold


def open_setting(given: Arguments, files: FileDigests) -> Setting:
    """Open everything that was named.

    Args:
        given: the words of the command line.
        files: reads the images that are measured on.

    Raises:
        InvalidInput: something is missing, cannot be read or does not fit, or labelled images would be both
            learned from and measured on.
        StorageFailed: the transfer set is damaged, or the disk is full.
    """
    recipes = _students(given)
    recipe = next(iter(recipes.values()))
    if given.teacher is not None:
        require_checkpoint(given.teacher)
    pool = _pool(given.transfer_set, recipe) if given.transfer_set else None
    if given.teacher is not None and given.transfer_set is not None:
        _check_same_teacher(given.teacher, transfer_set_file(given.transfer_set))
    labelled, why = _labels(given)
    if labelled is not None and pool is not None:
        pool, why = _with_labels(pool, labelled)
    bought = pool.data if pool else None
    measured = yardsticks(given.measure_on, recipe, bought, files, given.teacher)
    if labelled is not None:
        _check_apart(labelled, measured)
    return Setting(given, recipes, pool, labelled, why, measured)


def _check_same_teacher(checkpoint: Path, file: Path) -> None:
    """Refuse a checkpoint that is not of the teacher whose descriptors were bought, as far as can be told."""
    with TransferSet.open(file) as opened:
        seller, bought = opened.teacher, opened.bought()
    if seller is None or not len(bought.vectors):
        return
    teacher = readable(checkpoint)
    own, sold = weights_digest(teacher), stated.weights(seller.description)
    if sold not in (None, own) or teacher.dim != bought.vectors.shape[1]:
        told = f" of weights {sold[:12]}" if sold else ""
        raise InvalidInput(
            f"--teacher {checkpoint} has weights {own[:12]} and {teacher.dim:,} dimensions; the descriptors "
            f"in {file} were bought from a teacher{told} with {bought.vectors.shape[1]:,}: give the "
            "checkpoint of the teacher that was asked."
        )


def _check_apart(labelled: TrainingData, measured: Yardsticks) -> None:
    """Refuse labelled images to learn from that are measured on too, whatever they are called."""
    if both := measured.among(labelled.images):
        raise InvalidInput(
            f"{len(both):,} of the {len(labelled):,} labelled images to learn from are measured on too: the "
            f"same bytes, the first is {both[0].path}. A student would be measured on what it learned from: "
            "take them out of one of the two."
        )


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
    file = transfer_set_file(path)
    if not file.is_file():
        raise InvalidInput(
            f"There is no transfer set {file}. Buy one with: student-trainer plan, then student-trainer fetch"
        )
    data = from_transfer_set(file, partial=True)
    with TransferSet.open(file) as opened:
        chosen = {image.digest: image for image in opened.chosen()}
    planned = tuple(chosen[image.digest] for image in data.images)
    return Pool(data, bought_in_order(file), threshold(recipe, data), planned)


def _labels(given: Arguments) -> tuple[TrainingData | None, str]:
    """All labelled training images, or why there are none."""
    manifest = given.measure_on.manifest
    if given.train_split is not None:
        if manifest is None or given.sfm120k is not None:
            raise InvalidInput(
                "--train-split names a split of a manifest: give --manifest FILE, and leave out --sfm120k."
            )
        if given.train_split == given.measure_on.split:
            raise InvalidInput(
                f"--split and --train-split are both {given.train_split!r}: a student would be measured on "
                "the images that it learned from."
            )
        return from_manifest(manifest, given.train_split), ""
    if given.sfm120k is not None:
        return from_sfm120k(given.sfm120k, None), ""
    return None, "no labels to learn from: --manifest FILE --train-split NAME, or --sfm120k DIR"


def _with_labels(pool: Pool, labelled: TrainingData) -> tuple[Pool, str]:
    """The bought images with what is known of their labels, where something is of every one."""
    if unknown := unknown_in(labelled, pool.data):
        return pool, (
            f"{len(unknown):,} of {len(pool.data):,} bought images are not among the labelled ones, the "
            f"first is {unknown[0].name}"
        )
    return replace(pool, data=with_labels_of(pool.data, labelled)), ""
