"""The part of a training step that compares feature maps: chunk by chunk, in stage three of the backward.

In: an objective on feature maps, the student and the teacher. Out: what the step adds for each chunk of
images.

It is a mean over images in which each image stands for itself, so no chunk has to wait for another: the
teacher sees the very pixels that the student has before it, at inference and without a graph, and its
maps are gone with the chunk. A set of 4,000 images would need 5 to 100 GB to keep them, and no crop would
ever fit them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from shared.network import DescriptorNet
from student_trainer.distil.batches import BatchSource
from student_trainer.distil.heads import Head
from student_trainer.distil.objectives import Objective
from student_trainer.distil.objectives.feature_maps import FeatureMapObjective
from student_trainer.distil.precision import BF16, InBFloat16
from student_trainer.distil.white_box.layers import check_names, heard, map_shapes
from student_trainer.distil.white_box.teacher import WhiteBox
from student_trainer.recipe import Recipe


class MapWeights(nn.Module):
    """All that such an objective learns of its own: a map for each pair of layers, and its base's head."""

    def __init__(self, regressors: nn.ModuleList, head: Head | None) -> None:
        super().__init__()
        self.regressors = regressors
        self.head = head


def with_map_weights(
    objective: Objective,
    student: DescriptorNet,
    source: BatchSource,
    head: Head | None,
    *,
    seed: int,
) -> nn.Module | None:
    """What an objective learns of its own, given the head that it may have: on feature maps, more than that.

    The initial weights are a function of the seed.

    Raises:
        InvalidInput: a layer that is named is not there, or gives no feature maps, or maps of no use.
    """
    white_box = source.data.white_box
    if not isinstance(objective, FeatureMapObjective) or white_box is None:
        return head
    image_px = _largest_px(source)
    ours = map_shapes(student.trunk, [pair.student for pair in objective.pairs], image_px, "student")
    theirs = map_shapes(
        white_box.network.trunk, [pair.teacher for pair in objective.pairs], image_px, "teacher"
    )
    regressors = nn.ModuleList()
    for place, (mine, wanted) in enumerate(zip(ours, theirs, strict=True)):
        objective.check_cells(min(mine[1], wanted[1]) * min(mine[2], wanted[2]), image_px)
        regressors.append(objective.make_regressor(mine[0], wanted[0], seed + place))
    return MapWeights(regressors, head)


def check_layers(objective: Objective, student: DescriptorNet, white_box: WhiteBox) -> None:
    """Refuse layers that are not there, before an image is decoded.

    Raises:
        InvalidInput: so it is.
    """
    if isinstance(objective, FeatureMapObjective):
        check_names(student.trunk, [pair.student for pair in objective.pairs], "student")
        check_names(white_box.network.trunk, [pair.teacher for pair in objective.pairs], "teacher")


def _largest_px(source: BatchSource) -> tuple[int, int]:
    """Height and width of the largest image that a step is shown."""
    if source.views.crop_px is not None:
        return source.views.crop_px, source.views.crop_px
    height, width, _ = max(source.store.shapes, key=lambda shape: shape[0] * shape[1])
    return height, width


def kept_head(learned: nn.Module | None) -> Head | None:
    """What of it is of use after the training: nobody asks for maps, which is where regressors lead."""
    if isinstance(learned, MapWeights):
        return learned.head
    return learned if isinstance(learned, Head) else None


@dataclass(frozen=True)
class MapTerm:
    """See :class:`student_trainer.distil.push.ChunkTerm`."""

    objective: FeatureMapObjective
    student: nn.Module
    """Its trunk, wherever that stands in what a step describes images with."""
    teacher: nn.Module
    """Its trunk."""
    shown: nn.Module
    """The same, in the precision of the training."""
    weights: nn.Module
    """The regressors."""

    def __call__(self, network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
        """Descriptors [b, d] of images [b, 3, H, W], and each image's own loss [b]."""
        pairs = self.objective.pairs
        with heard(self.student, [pair.student for pair in pairs]) as ours:
            descriptors = network(images)
        with torch.no_grad(), heard(self.teacher, [pair.teacher for pair in pairs]) as theirs:
            self.shown(images)
        losses = [
            self.objective.of_maps(_full(ours[pair.student]), _full(theirs[pair.teacher]), regressor)
            for pair, regressor in zip(pairs, self.weights.children(), strict=True)
        ]
        return descriptors, self.objective.weight * torch.stack(losses).sum(dim=0)


def _full(maps: Tensor) -> Tensor:
    """Out of bfloat16: losses are taken in full precision."""
    return maps.float() if maps.dtype == torch.bfloat16 else maps


def term_of(
    recipe: Recipe,
    objective: Objective,
    white_box: WhiteBox | None,
    student: DescriptorNet,
    learned: nn.Module | None,
) -> MapTerm | None:
    """For a student on its device, to which the teacher is brought; None for an objective without maps."""
    if not isinstance(objective, FeatureMapObjective) or white_box is None:
        return None
    assert isinstance(learned, MapWeights)
    teacher = white_box.network.trunk.requires_grad_(False).eval()
    device = next(student.parameters()).device
    teacher.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    shown = InBFloat16(teacher) if recipe.training.precision == BF16 else teacher
    return MapTerm(objective, student.trunk, teacher, shown, learned.regressors)
