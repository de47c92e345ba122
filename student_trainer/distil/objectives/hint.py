"""``hint``: the student's feature maps, through a learned 1 x 1 convolution, shall be the teacher's.

    L = weight x mean_i sum_pairs 1/2 mean_cells,channels (r(s_i) - t_i)^2,    r a 1 x 1 convolution, no bias

In: feature maps of pairs of layers by student and teacher. Out: each image's loss. White box. Settings:
``layers`` ("" compares the maps that are pooled), ``weight`` 1, ``base`` "" (an objective on descriptors
beside it).

Source: Romero et al., "FitNets: Hints for Thin Deep Nets" (2015), Eq. 3, as a mean over the map's
numbers, so that maps of different sizes weigh alike. Its regressor is a small convolution that also evens
out the sizes; here it is 1 x 1, and the larger map is brought to the smaller one by adaptive average
pooling. The published use trains the lower half of a network by hints first; here both parts of the loss
are trained together.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from student_trainer.distil.objectives.feature_maps import FeatureMapObjective, of_maps_alone
from student_trainer.distil.white_box.layers import same_size

_STREAM = 0x48494E54
"""Keeps the initial weights apart from all else that is drawn from the same seed."""


def hint(student: Tensor, teacher: Tensor, regressor: nn.Module) -> Tensor:
    """Half the mean squared difference of an image's maps after the regressor.

    Args:
        student: [B, C, h, w], differentiable.
        teacher: [B, D, H, W].
        regressor: maps [B, C, ...] -> [B, D, ...], cell by cell; differentiable in its weights.

    Returns:
        [B]; Eq. 3 divided by the numbers of the map.
    """
    # A convolution of single cells commutes with a mean over cells, and is cheaper after it.
    student, teacher = same_size(student, teacher)
    losses: Tensor = 0.5 * (regressor(student) - teacher).square().mean(dim=(1, 2, 3))
    return losses


@dataclass
class Hint(FeatureMapObjective):
    """:func:`hint`."""

    facts = of_maps_alone("hint")

    def of_maps(self, student: Tensor, teacher: Tensor, regressor: nn.Module) -> Tensor:
        """See :class:`FeatureMapObjective`."""
        return hint(student, teacher, regressor)

    def make_regressor(self, channels: int, wanted: int, seed: int) -> nn.Module:
        """A 1 x 1 convolution without bias, normal weights of variance 1 / C."""
        # Skipped, because it would draw from the generator that everybody shares.
        regressor: nn.Conv2d = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            nn.Conv2d, channels, wanted, kernel_size=1, bias=False
        )
        generator = torch.Generator().manual_seed(_STREAM ^ seed)
        with torch.no_grad():
            nn.init.normal_(regressor.weight, std=channels**-0.5, generator=generator)
        return regressor
