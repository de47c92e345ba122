"""``csq``: central similarity quantisation, each image's code comes close to the hash centre of its class.

    L = mean BCE((tanh u + 1) / 2, c) + lambda mean (|tanh u| - 1)^2

u are the K numbers of the hash layer, c is the centre of the image's class with 0 for -1, both means are over
images and bits. (tanh u + 1)/2 is the logistic function of 2u, so the first term is taken without a logarithm
of what may round to 0.

In: the student's descriptors and labels. Out: a scalar. Needs labels and no teacher; the hash layer is the
objective's head.

Source: Yuan et al., "Central Similarity Quantization for Efficient Image and Video Retrieval" (2020), in the
form that "Context Unaware Knowledge Distillation for Image Retrieval" (2022), step 2, trains with RMSprop at
1e-5. Defaults: 64 bits (published: 16, 32, 64), ``quantisation`` (lambda) 1e-4.
"""

from dataclasses import dataclass, field
from math import isfinite

import torch
from torch import Tensor
from torch.nn import functional

from student_trainer.distil.hash_centres import check_bits, hash_centres, majority
from student_trainer.distil.objectives.hashed import HashObjective, of_codes
from student_trainer.errors import InvalidInput

_TIES = 0x544945
"""Keeps the code that decides ties apart from the centres, which are drawn from the same seed."""


def central_similarity(values: Tensor, targets: Tensor, quantisation: float = 1e-4) -> Tensor:
    """The loss of a batch.

    Args:
        values: [B, K], output of the hash layer; the loss is differentiable in these.
        targets: +1 and -1, [B, K]: the centre of each image.
        quantisation: weight of the second term, which draws tanh u to its ends.

    Returns:
        A scalar.
    """
    hits = functional.binary_cross_entropy_with_logits(2.0 * values, (targets.to(values.dtype) + 1.0) / 2.0)
    return hits + quantisation * (values.tanh().abs() - 1.0).square().mean()


@dataclass
class CentralSimilarity(HashObjective):
    """:func:`central_similarity` of the labelled images of a batch; a batch without labels has loss 0.

    Labels are class numbers [B], or multi-hot [B, classes]: then an image's centre is the majority of those
    of its labels, bit by bit; where there is none, the bit of one code that is drawn once by ``seed``.

    ``classes`` is how many there are in all: 0 takes a training's own, and in a call by itself as many as
    have centres in a Hadamard matrix. Beyond twice as many as bits, centres are drawn by ``seed``.

    Raises:
        InvalidInput: a setting is out of its range, or labels are missing or do not fit the batch.
    """

    bits: int = 64
    quantisation: float = 1e-4
    classes: int = 0
    seed: int = 0

    facts = of_codes("csq", wants_classes=True)
    _centres: Tensor | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bits(self.bits)
        if not (isfinite(self.quantisation) and self.quantisation >= 0):
            raise InvalidInput(f"quantisation = {self.quantisation}: a weight is 0 or more, such as 1e-4.")
        for name in ("classes", "seed"):
            value = getattr(self, name)
            if value < 0 or value != int(value):
                raise InvalidInput(f"{name} = {value}: use a whole number from 0 up.")

    def for_classes(self, classes: int) -> None:
        """Have centres for so many classes.

        Raises:
            InvalidInput: the setting ``classes`` names fewer, or the bits are too few for so many.
        """
        if self.classes and classes > self.classes:
            raise InvalidInput(
                f"classes = {self.classes:,}, but the images have labels of {classes:,} classes: leave the "
                "setting out, or name them all."
            )
        self._centres = hash_centres(self.classes or classes, self.bits, self.seed)

    def of_labelled(self, values: Tensor, labels: Tensor) -> Tensor:
        """See :class:`HashObjective`."""
        return central_similarity(values, self.targets(labels).to(values.dtype), self.quantisation)

    def targets(self, labels: Tensor) -> Tensor:
        """The centre of each image: +1 and -1, [B, bits], for class numbers [B] or multi-hot rows [B,
        classes].

        Raises:
            InvalidInput: a class that has no centre.
        """
        centres = self._centres_for(labels).to(labels.device)
        if labels.ndim == 1:
            return centres[labels]
        tie = self._tie().to(labels.device, torch.float32)
        return majority(centres[: labels.shape[1]], labels, tie)

    def _centres_for(self, labels: Tensor) -> Tensor:
        """The centres, if there is one for each class that a batch shows."""
        shown = labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1
        if self._centres is None:
            self.for_classes(self.classes or (shown if labels.ndim == 2 else 2 * self.bits))
        assert self._centres is not None
        if shown > len(self._centres):
            raise InvalidInput(
                f"A batch has labels of class {shown - 1:,}, and there are hash centres for "
                f"{len(self._centres):,} classes (counted from 0). Say how many there are in all: "
                f"classes={shown} or more."
            )
        return self._centres

    def _tie(self) -> Tensor:
        generator = torch.Generator().manual_seed(_TIES ^ self.seed)
        return torch.randint(0, 2, (self.bits,), generator=generator) * 2 - 1
