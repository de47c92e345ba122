"""``attention``: the student shall look where the teacher looks.

    L = weight x mean_i sum_pairs mean_cells (a(s_i) - a(t_i))^2
    a(f) = q / ||q||_2,    q = mean_channels f^2, one number a cell

In: feature maps of pairs of layers by student and teacher. Out: each image's loss. White box; nothing is
learned beside the student. Settings: ``layers`` ("" compares the maps that are pooled), ``weight`` 1000,
``base`` "" (an objective on descriptors beside it).

Source: Zagoruyko and Komodakis, "Paying More Attention to Attention" (2017), Eq. 2 with p = 2 and their
map F_sum^2 (the sum and the mean over channels differ by a factor that the norm takes away), squared and
as a mean over cells, as their public code has it, whose weight is 1000. That code wants maps of one size;
here the larger map of attention is brought to the smaller one by adaptive average pooling.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from student_trainer.distil.objectives.feature_maps import FeatureMapObjective, of_maps_alone
from student_trainer.distil.white_box.layers import same_size
from student_trainer.errors import InvalidInput


def attention(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of an image's two maps of attention, each of length 1.

    Args:
        student: [B, C, h, w], differentiable.
        teacher: [B, D, H, W].

    Returns:
        [B]. A map of zeros stays one of zeros, since nothing is looked at; of a single cell the loss is 0.
    """
    ours, theirs = same_size(_energy(student), _energy(teacher))
    return (_unit(ours) - _unit(theirs)).square().mean(dim=1)


def _energy(maps: Tensor) -> Tensor:
    """[B, C, h, w] -> [B, 1, h, w]: the mean square over channels."""
    return maps.square().mean(dim=1, keepdim=True)


def _unit(energy: Tensor) -> Tensor:
    """[B, 1, h, w] -> [B, h w], of length 1 or zero."""
    return functional.normalize(energy.flatten(1), dim=1)


@dataclass
class Attention(FeatureMapObjective):
    """:func:`attention`."""

    weight: float = 1000.0

    facts = of_maps_alone("attention")

    def of_maps(self, student: Tensor, teacher: Tensor, regressor: nn.Module) -> Tensor:
        """See :class:`FeatureMapObjective`; the regressor has no weights and is not looked at."""
        return attention(student, teacher)

    def check_cells(self, cells: int, image_px: tuple[int, int]) -> None:
        """See :class:`FeatureMapObjective`; attention to the only cell is always 1, and the loss 0."""
        if cells < 2:
            height, width = image_px
            raise InvalidInput(
                f"The objective attention compares where networks look, and images of at most {width} x "
                f"{height} px leave the compared layers one cell. Compare lower layers, such as "
                "--set objective.layers=5:5, or give larger images."
            )

    def make_regressor(self, channels: int, wanted: int, seed: int) -> nn.Module:
        """Nothing: attention has one channel, whatever the maps have."""
        return nn.Identity()
