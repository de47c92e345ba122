"""How long the trainings of a row are, where all shall have as many steps.

In: recipes, a number of images and a setting. Out: the recipe of one training; or why it has its own length.
"""

from student_trainer.distil.preflight import unfitted_objective
from student_trainer.recipe import Recipe
from student_trainer.reproduce.setting import Setting
from student_trainer.trials.subsets import recipe_for


def recipe_of_cell(recipe: Recipe, seed: int, images: int, setting: Setting, *, own_length: str) -> Recipe:
    """The recipe of one training of a row.

    Args:
        recipe: the row's.
        seed: the training's.
        images: it learns from.
        setting: whose bought images are what ``--equal-steps`` counts.
        own_length: see there; a row that has a reason keeps its epochs.
    """
    equal = setting.given.equal_steps and not own_length
    most = len(setting.pool.data) if setting.pool else images
    return recipe_for(recipe, seed, images, most, equal_steps=equal)


def own_length(recipe: Recipe, base: Recipe, images: int, setting: Setting) -> str:
    """Why a row does not have as many steps as the others with ``--equal-steps``; empty where it has.

    Args:
        recipe: the row's.
        base: that every row starts from.
        images: the row learns from.
        setting: whose bought images the others' steps are counted on.
    """
    if not setting.given.equal_steps or setting.pool is None:
        return ""
    if unfitted_objective(recipe).mining is not None:
        return "its steps are of tuples"
    if recipe.training.images_per_batch != base.training.images_per_batch:
        return f"its batches are of {recipe.training.images_per_batch:,} images"
    if images > len(setting.pool.data):
        return f"it learns from {images:,} images, more than were bought"
    return ""
