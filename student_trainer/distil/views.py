"""The pixels that a step is shown of its images: the same in both passes, others at the next step.

In: decoded images, the recipe's ``[images]`` section, a seed and the number of a step. Out: parts of the
images, mirrored or not, all of one size where they are crops, so that a whole batch makes full chunks.

Under a budget the canonical view of an image is bought once, and the student's view alone changes. What a
step draws is a function of (seed, step, place in the batch): a training that was killed continues with the
same pixels, and several processes see what one would.

The random part of an image is that of the public pipelines (torchvision's ``RandomResizedCrop`` and
``RandomHorizontalFlip``): a share of the area from ``least_area`` to 1, a ratio of the sides from 3/4 to 4/3
(uniform in its logarithm), anywhere; resized bilinearly.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.images import Preprocessing
from student_trainer.distil.arrays import Alteration, Shape
from student_trainer.recipe import Recipe

WIDEST = 4 / 3
"""Of a random part: its longer side by its shorter one, at most."""
_ATTEMPTS = 10
"""To draw a part that fits into the image; then its largest middle part of a ratio that is allowed."""
_STREAM = 0x56494557
"""Keeps views apart from all else that is drawn from the same seed."""

Box = tuple[int, int, int, int]
"""left, top, width, height in pixels."""


@dataclass(frozen=True)
class MiddleSquare:
    """The middle ``side_px`` x ``side_px`` of every image: how a student is shown them in use."""

    side_px: int

    def shape(self, position: int, shape: Shape) -> Shape:
        """See :class:`student_trainer.distil.arrays.Alteration`."""
        return (self.side_px, self.side_px, *shape[2:])

    def apply(self, position: int, array: NDArray[Any]) -> NDArray[Any]:
        """uint8 [H, W, 3], no side shorter -> [side, side, 3], as :func:`shared.views.middle` cuts."""
        top, left = ((length - self.side_px) // 2 for length in array.shape[:2])
        return array[top : top + self.side_px, left : left + self.side_px]


@dataclass(frozen=True)
class RandomView:
    """The views of one step: crops of ``crop_px`` (None: the whole image), mirrored by half."""

    draws: NDArray[np.float64]
    """[B, 1 + 4 x attempts], uniform in [0, 1): whether to mirror; for each attempt area, ratio and place."""
    crop_px: int | None
    least_area: float
    flip: bool

    def shape(self, position: int, shape: Shape) -> Shape:
        """See :class:`student_trainer.distil.arrays.Alteration`."""
        return shape if self.crop_px is None else (self.crop_px, self.crop_px, *shape[2:])

    def apply(self, position: int, array: NDArray[Any]) -> NDArray[Any]:
        """uint8 [H, W, 3] -> the same, or [crop_px, crop_px, 3]."""
        seen = array
        if self.crop_px is not None:
            seen = _resized(array, self.box(position, array.shape), self.crop_px)
        return seen[:, ::-1] if self.flip and self.draws[position, 0] < 0.5 else seen

    def box(self, position: int, shape: Shape) -> Box:
        """The part of an image [H, W, ...] that is shown at that place of the batch."""
        height, width = shape[:2]
        for area, ratio, across, down in self.draws[position, 1:].reshape(-1, 4).tolist():
            pixels = height * width * (self.least_area + area * (1 - self.least_area))
            sides = math.exp((2 * ratio - 1) * math.log(WIDEST))
            part_width, part_height = round(math.sqrt(pixels * sides)), round(math.sqrt(pixels / sides))
            if 0 < part_width <= width and 0 < part_height <= height:
                left, top = int(across * (width - part_width + 1)), int(down * (height - part_height + 1))
                return left, top, part_width, part_height
        part_width, part_height = min(width, round(height * WIDEST)), min(height, round(width * WIDEST))
        return (width - part_width) // 2, (height - part_height) // 2, part_width, part_height


@dataclass(frozen=True)
class StudentViews:
    """What a recipe's student is shown of decoded images: in training, and in use."""

    seed: int
    crop_px: int | None = None
    least_area: float = 1.0
    flip: bool = False

    @classmethod
    def of(cls, recipe: Recipe) -> "StudentViews":
        """The recipe's."""
        images = recipe.images
        return cls(recipe.training.seed, images.crop_px or None, images.crop_least_area, images.flip)

    def in_training(self, step: int, batch_size: int) -> Alteration | None:
        """For the batch of a step; None where it is shown the images as they are decoded."""
        if self.crop_px is None and not self.flip:
            return None
        draws = np.random.default_rng([_STREAM, self.seed, step]).random((batch_size, 1 + 4 * _ATTEMPTS))
        return RandomView(draws, self.crop_px, self.least_area, self.flip)

    def in_use(self) -> Alteration | None:
        """The same at every time; None where that is the images as they are decoded."""
        return None if self.crop_px is None else MiddleSquare(self.crop_px)


AS_DECODED = StudentViews(0)
"""Nothing is drawn and nothing is cut."""


def preprocessing_in_use(recipe: Recipe) -> Preprocessing:
    """How the images of the recipe's student are prepared when it is used."""
    return Preprocessing(recipe.images.longest_side_px, view=recipe.images.view)


def _resized(array: NDArray[Any], box: Box, side_px: int) -> NDArray[Any]:
    """A part of uint8 [H, W, 3] as [side_px, side_px, 3]; bilinear, over all pixels that are made one."""
    left, top, width, height = box
    part = Image.fromarray(np.ascontiguousarray(array[top : top + height, left : left + width]))
    return np.asarray(part.resize((side_px, side_px), Image.Resampling.BILINEAR))
