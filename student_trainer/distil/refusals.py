"""What is refused before a training writes anything, from the recipe alone and then with its data.

In: a recipe; later its data, and who trains together. Out: the objective, or one sentence why these do not go
together.
"""

from student_trainer.distil.course import Course, course
from student_trainer.distil.data import TrainingData
from student_trainer.distil.frozen_layers import check_trained_from
from student_trainer.distil.objectives import Objective
from student_trainer.distil.preflight import check_data, tell_classes, unfitted_objective
from student_trainer.distil.processes import Processes
from student_trainer.distil.schedule import Schedule
from student_trainer.distil.student import build_untrained, check_student
from student_trainer.distil.validation import hold_back
from student_trainer.distil.white_box.checks import check_white_box
from student_trainer.distil.white_box.term import check_layers
from student_trainer.errors import InvalidInput
from student_trainer.recipe import Recipe


def check_recipe(recipe: Recipe, *, white_box: bool) -> Objective:
    """What can be said before an image is read.

    Args:
        recipe: what to train.
        white_box: whether the teacher's own file is at hand.

    Returns:
        The objective, to be asked what it needs.

    Raises:
        InvalidInput: the student cannot be made, no layer is left to be trained, a setting is out of range,
            or the objective learns from what is not at hand.
    """
    check_student(recipe)
    check_trained_from(recipe)
    objective = unfitted_objective(recipe)
    check_white_box(recipe, objective, at_hand=white_box)
    return objective


def check_training(recipe: Recipe, data: TrainingData, processes: Processes) -> Objective:
    """All that a training refuses before it writes anything.

    Returns:
        The objective, which knows how many classes there are; it is trained unless tau is still to be chosen.

    Raises:
        InvalidInput: the recipe is refused; labels or descriptors are missing or do not suffice for the
            objective, its batches or what is to be held back; a layer that is named is not there; or the
            processes do not see the same, or cannot compute this recipe together.
    """
    objective = check_recipe(recipe, white_box=data.white_box is not None)
    check_data(objective, data)
    learned, _ = hold_back(recipe, data)
    _check_batches(recipe, objective, course(recipe, objective, data), len(learned))
    tell_classes(objective, data)
    if data.white_box is not None:
        check_layers(objective, build_untrained(recipe), data.white_box)
    _check_together(recipe, data, processes)
    return objective


def _check_batches(recipe: Recipe, objective: Objective, planned: Course, images: int) -> None:
    """Refuse batches that are too small; those of tuples and of groups are judged elsewhere."""
    if type(planned) is Schedule:
        steps = Schedule(images, recipe.training).steps_per_epoch
        objective.check_batch(images // steps)  # the smallest: sizes differ by one


def _check_together(recipe: Recipe, data: TrainingData, processes: Processes) -> None:
    """Refuse what several processes cannot compute as one does."""
    if processes.count > 1 and recipe.training.batch_norm != "frozen":
        raise InvalidInput(
            f"training.batch_norm = {recipe.training.batch_norm!r} takes its running statistics from one "
            f"chunk after the other, and {processes.count} processes have different chunks. Train with one "
            "process, or with --set training.batch_norm=frozen."
        )
    processes.check_same({"recipe": recipe.digest(), "training data": data.digest()})
