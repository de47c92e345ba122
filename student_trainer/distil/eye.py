"""The network that looks at candidates: the student as it is before it learns from the teacher.

In: a recipe, the candidates, and where to keep their descriptors. Out: an :class:`Eye`, of which a
:class:`Describer` is made once the candidates are known, and the words by which the plan names it.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.extraction import pick_device
from shared.network import DescriptorNet
from student_trainer.acquire.records import PlannedImage
from student_trainer.acquire.selection.described import Describer
from student_trainer.distil.images import SourceImage, open_store
from student_trainer.distil.student import CALIBRATION_IMAGES, build_student, calibrate
from student_trainer.distil.views import preprocessing_in_use
from student_trainer.errors import InvalidInput
from student_trainer.recipe import Recipe
from student_trainer.recipe_sections import IMAGENET, RANDOM


@dataclass(frozen=True)
class Eye:
    """A recipe and its network with initial weights, not yet prepared for any images."""

    recipe: Recipe
    network: DescriptorNet

    def on(
        self, candidates: Sequence[PlannedImage], cache: Path | None, on_images: Callable[[int], None]
    ) -> Describer:
        """Ready to look at the candidates; nothing is described yet.

        Random weights get their batch norm statistics from the candidates, as a training would give them.

        Raises:
            InvalidInput: the images are too small for the network, or cannot be read any more.
        """
        recipe = self.recipe
        if recipe.student.draws_weights and candidates:
            _calibrate(recipe, self.network, candidates)
        size_px, device = recipe.images.longest_side_px, recipe.training.device
        return Describer(self.network, size_px, device, cache, on_images, recipe.images.view)

    def in_words(self, describer: Describer) -> str:
        """``mobilenet_v2-320-gem (imagenet) at 160 px, 5f1e2d3c4b5a``: enough to use the same again."""
        looks = describer.view.words(describer.longest_side_px)
        weights = self.recipe.student.weights
        name = weights if weights in (IMAGENET, RANDOM) else Path(weights).name
        spec = self.network.spec.name
        return f"{spec} ({name}) at {looks}, {describer.identity[:12]}"


def open_eye(recipe: Recipe) -> Eye:
    """The recipe's student as it is before it learns; warns where its weights have seen no image.

    Raises:
        InvalidInput: weights, architecture or device that cannot be used.
    """
    try:
        pick_device(recipe.training.device)
    except ValueError as error:
        raise InvalidInput(f"training.device: {error}") from None
    network = build_student(recipe)
    if recipe.student.weights == RANDOM:
        print(
            "The student's weights are random: it tells images apart by colour and texture alone, and a "
            "choice by its descriptors may be no better than --selection random. Give --weights imagenet or "
            "a file.",
            file=sys.stderr,
        )
    return Eye(recipe, network)


def _calibrate(recipe: Recipe, network: DescriptorNet, candidates: Sequence[PlannedImage]) -> None:
    sample = sorted(candidates, key=lambda image: image.digest)[:CALIBRATION_IMAGES]
    preprocessing = preprocessing_in_use(recipe)
    network.to(pick_device(recipe.training.device))
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder), [SourceImage(i.path, i.digest) for i in sample], preprocessing)
        drawn_from = recipe.student.drawn_from
        calibrate(network, store, preprocessing, recipe.training.seed, drawn_from=drawn_from)
