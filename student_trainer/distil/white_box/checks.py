"""Whether a teacher shows what an objective learns from, asked before an image is read.

In: a recipe, its objective, and whether the teacher's file is at hand. Out: nothing, or one sentence why
these do not go together.
"""

from student_trainer.distil.objectives import Objective
from student_trainer.errors import InvalidInput
from student_trainer.recipe import Recipe


def check_white_box(recipe: Recipe, objective: Objective, *, at_hand: bool) -> None:
    """Refuse an objective that learns from feature maps where none are shown, and a teacher of no use.

    Raises:
        InvalidInput: so it is, or the recipe does not show the teacher what the student sees.
    """
    name = objective.name
    if not objective.facts.needs_white_box:
        if at_hand:
            raise InvalidInput(
                f"--teacher-checkpoint is for objectives that learn from feature maps (hint, attention), and "
                f"{name!r} learns without them: leave it out."
            )
        return
    if not at_hand:
        raise InvalidInput(
            f"The objective {name!r} learns from the teacher's feature maps, and a black box (a remote "
            "teacher, or the descriptors bought from one) shows no feature maps: give its own file with: "
            "student-trainer train --teacher-checkpoint FILE, or choose another objective."
        )
    if recipe.student.trained_from:
        raise InvalidInput(
            f"The objective {name!r} shows the teacher the pixels that the student sees, and "
            f"student.trained_from = {recipe.student.trained_from} trains on kept features instead: "
            "--set student.trained_from=0"
        )
    if recipe.images.degrade:
        raise InvalidInput(
            f"The objective {name!r} compares maps of the same pixels, and images.degrade = "
            f"{recipe.images.degrade!r} is to show the student others than the teacher: "
            "--set images.degrade= or choose an objective that learns from bought descriptors."
        )
