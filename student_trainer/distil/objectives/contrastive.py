"""The supervised contrastive loss on tuples with mined hard negatives.

In: the descriptors of a step's tuples. Out: a scalar. It trains the supervised baseline of the paper's
Table 2; no teacher is asked.

Source: Radenovic, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation" (2018). Laskar
and Kannala (2020), Section 4, take ``margin=0.65``.
"""

from dataclasses import dataclass, field

from torch import Tensor

from student_trainer.distil.descriptors import unit_rows
from student_trainer.distil.objectives.tuples import contrastive
from student_trainer.distil.tuples.draws import Mining
from student_trainer.errors import InvalidInput

FARTHEST = 2.0
"""Two unit descriptors are never farther apart."""


@dataclass
class Contrastive:
    """``contrastive``: the sum of the tuples' losses, each of an anchor, a positive and hard negatives.

    At the beginning of each epoch ``anchors_per_epoch`` anchors are drawn, each with another image of its
    label, and for each the ``negatives`` most similar out of ``pool_images`` images of other labels, as the
    student describes them then, no two of the same label.

    Raises:
        InvalidInput: a setting is out of its range, or a batch is not made of such tuples.
    """

    margin: float = 0.7
    negatives: int = 5
    anchors_per_epoch: int = 2000
    pool_images: int = 22_000

    name: str = field(default="contrastive", init=False, repr=False)
    needs_labels: bool = field(default=True, init=False, repr=False)
    needs_teacher: bool = field(default=False, init=False, repr=False)
    mining: Mining = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.margin <= FARTHEST:
            raise InvalidInput(
                f"margin = {self.margin}: take a distance above 0 and at most {FARTHEST:g}, since two unit "
                "descriptors are never farther apart."
            )
        self.mining = Mining(self.negatives, self.anchors_per_epoch, self.pool_images)

    def __call__(self, student: Tensor, teacher: Tensor | None, labels: Tensor | None = None) -> Tensor:
        """The loss of T tuples, one after another: an anchor, its positive, its negatives.

        student [T (2 + negatives), d], labels long [T (2 + negatives)]; ``teacher`` is not looked at.
        """
        units = unit_rows(student, "student")
        if labels is None:
            raise InvalidInput("The objective contrastive needs labels, but got none.")
        check_tuples(labels, len(units), self.mining)
        tuples = units.view(-1, self.mining.tuple_images, units.shape[1])
        return contrastive(tuples[:, 0], tuples[:, 1:2], tuples[:, 2:], self.margin)


def check_tuples(labels: Tensor, images: int, mining: Mining) -> None:
    """Refuse a batch whose labels, long [B], are not those of whole tuples.

    Raises:
        InvalidInput: says what a tuple is, and what is wrong.
    """
    size, wrong = mining.tuple_images, None
    if labels.shape != (images,) or labels.is_floating_point():
        wrong = f"there are {images} images, and labels of shape {list(labels.shape)} and type {labels.dtype}"
    elif images % size:
        wrong = f"the batch has {images} images"
    else:
        anchor, positive, *negatives = labels.view(-1, size).unbind(1)
        unlike = (positive != anchor).nonzero().flatten().tolist()
        alike = sum(anchor == negative for negative in negatives).nonzero().flatten().tolist()  # type: ignore
        if unlike:
            wrong = f"in tuple {unlike[0]} (counted from 0) the second image has another label than the first"
        elif alike:
            wrong = f"in tuple {alike[0]} (counted from 0) a negative has the anchor's label"
    if wrong:
        raise InvalidInput(
            f"A batch of tuples is {size} images for each: an anchor, an image of its label, and "
            f"{mining.negatives} of other labels; {wrong}."
        )
