"""``dch``: deep Cauchy hashing, the codes of images that share a label come within a small Hamming distance.

    d(u, v) = K/2 (1 - min(cos(u, v), 0.99))
    L = mean_ij w_ij [ s_ij ln(d(u_i, u_j) / gamma) + ln(1 + gamma / d(u_i, u_j)) ]
        + lambda mean_i ln(1 + d(|u_i|, 1) / gamma)

u are the K numbers of the hash layer, s_ij is 1 where two images share a label. w_ij is the number of all
pairs divided by that of the pairs alike in s, and 1 where all pairs are alike. All B x B pairs of the batch
count, an image with itself too: it weighs in w, and beyond a cosine of 0.99 no pair pulls.

In: the student's descriptors and labels. Out: a scalar. Needs labels and no teacher; the hash layer is the
objective's head.

Source: Cao et al., "Deep Cauchy Hashing for Hamming Space Retrieval" (2018), in the form that "Context
Unaware Knowledge Distillation for Image Retrieval" (2022), step 2, trains with RMSprop at 1e-5. Defaults:
48 bits (published: 16, 32, 48), ``gamma`` 20, ``quantisation`` (lambda) 0.1.
"""

from dataclasses import dataclass
from math import isfinite, sqrt

from torch import Tensor

from student_trainer.distil.descriptors import similarities, unit_rows
from student_trainer.distil.labels.of_batch import share_a_label
from student_trainer.distil.objectives.hashed import HashObjective, of_codes
from student_trainer.errors import InvalidInput

HIGHEST_COSINE = 0.99
"""Nearer than that two codes need not come: ln(1 + gamma / d) has no end at d = 0."""


def cauchy_hashing(values: Tensor, similar: Tensor, gamma: float = 20.0, quantisation: float = 0.1) -> Tensor:
    """The loss of a batch.

    Args:
        values: [B, K], output of the hash layer; the loss is differentiable in these.
        similar: bool [B, B], symmetric.
        gamma: a Hamming distance, the scale of the Cauchy distribution.
        quantisation: weight of the second term, which draws the numbers of a code to one size.

    Returns:
        A scalar.

    Raises:
        BadDescriptors: a row of ``values`` is zero or not finite.
    """
    units = unit_rows(values, "hash layer")
    distances = _hamming(similarities(units), values.shape[1])
    alike = similar.to(distances.dtype)
    terms = alike * (distances / gamma).log() + (gamma / distances).log1p()
    to_ones = _hamming(units.abs().sum(dim=1) / sqrt(values.shape[1]), values.shape[1])
    return (_weights(alike) * terms).mean() + quantisation * (to_ones / gamma).log1p().mean()


def _hamming(cosines: Tensor, bits: int) -> Tensor:
    """The distance of two codes, as their cosine tells it."""
    return bits / 2 * (1.0 - cosines.clamp(max=HIGHEST_COSINE))


def _weights(alike: Tensor) -> Tensor | float:
    """[B, B]: both kinds of pairs weigh the same in all."""
    positives = alike.sum()
    negatives = alike.numel() - positives
    if positives == 0 or negatives == 0:
        return 1.0
    return alike.numel() * (alike / positives + (1.0 - alike) / negatives)


@dataclass
class DeepCauchyHashing(HashObjective):
    """:func:`cauchy_hashing` of the labelled images of a batch; a batch without labels has loss 0.

    Labels are class numbers [B], or multi-hot [B, classes]: then images that share one are similar.

    Raises:
        InvalidInput: a setting is out of its range, or labels are missing or do not fit the batch.
    """

    bits: int = 48
    gamma: float = 20.0
    quantisation: float = 0.1

    facts = of_codes("dch", wants_classes=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (isfinite(self.gamma) and self.gamma > 0):
            raise InvalidInput(
                f"gamma = {self.gamma}: the scale of a distance is a positive number, such as 20."
            )
        if not (isfinite(self.quantisation) and self.quantisation >= 0):
            raise InvalidInput(f"quantisation = {self.quantisation}: a weight is 0 or more, such as 0.1.")

    def of_labelled(self, values: Tensor, labels: Tensor) -> Tensor:
        """See :class:`HashObjective`."""
        return cauchy_hashing(values, share_a_label(labels), self.gamma, self.quantisation)
