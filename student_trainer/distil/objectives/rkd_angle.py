"""``rkd-angle``: the angles of all triplets of a batch shall be the teacher's.

    L = mean_ijk huber(cos_S(j, i, k) - cos_T(j, i, k)),    cos(j, i, k) = e_ij . e_ik,
    e_ij = (x_i - x_j) / ||x_i - x_j||, and 0 where x_i = x_j

In: descriptors by student and teacher. Out: a scalar. Settings: ``normalise_student=False``, as in
``rkd-distance``. Label-free; any two dimensions. The mean is over all B^3 triplets; huber is
smooth L1 with delta 1.

Source: Park et al., "Relational Knowledge Distillation" (2019), angle-wise (RKD-A).

The time grows with B^3 and not with the dimensions, since (x_i - x_j) . (x_i - x_k) is a sum of four inner
products. The memory grows with B^2: a few anchors i are taken at a time, and their gradient is found while
their B^2 cosines are at hand.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import smooth_l1_loss

from student_trainer.distil.objectives.base import bought
from student_trainer.distil.objectives.distances import inner_products, inverse_distances, squared_distances
from student_trainer.distil.objectives.label_free import LabelFree, label_free, rows_pair

_BLOCK_TRIPLETS_CPU, _BLOCK_TRIPLETS_GPU = 1 << 16, 1 << 22
"""Triplets at one time: few enough for a core's cache (a block 16 times as large takes 2.4 times as long), or
enough to keep a graphics card busy."""


def rkd_angle(student: Tensor, teacher: Tensor, normalise_student: bool = False) -> Tensor:
    """The angle-wise loss of a batch.

    Args:
        student: [B, d]. The loss is differentiable (once) in these.
        teacher: [B, D], any D; row i is of the same image; taken at length 1.
        normalise_student: take the student's at length 1, too.

    Returns:
        A scalar from 0 to 1.5; of one image 0.

    Raises:
        InvalidInput: they are not of the same images.
        BadDescriptors: a row is zero or not finite.
    """
    student, teacher = rows_pair(student, teacher, normalise_student=normalise_student)
    triangles = (*_triangles(student), *_triangles(teacher))
    loss: Tensor = _InBlocks.apply(*triangles)  # type: ignore[no-untyped-call]
    return loss.to(student.dtype)


def _triangles(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What cosines are made of, float64 [B, B] each: x_i . x_j, |x_i|^2 / 2 - x_i . x_j, and 1 / d_ij."""
    products = inner_products(rows)
    towards = 0.5 * products.diagonal()[:, None] - products
    return products, towards, inverse_distances(squared_distances(products))


def _cosines(products: Tensor, towards: Tensor, inverse: Tensor) -> Tensor:
    """e_ij . e_ik, [b, B, B], from all products [B, B] and the anchors' rows [b, B] of the others."""
    spans = products + towards[:, :, None] + towards[:, None, :]  # (x_i - x_j) . (x_i - x_k)
    return spans * inverse[:, :, None] * inverse[:, None, :]


class _InBlocks(torch.autograd.Function):
    """The loss, and its gradient in the student's triangles, one block of anchors after another."""

    @staticmethod
    def forward(ctx: Any, *triangles: Tensor) -> Tensor:
        products, *rows = triangles[:3]
        target_products, *target_rows = triangles[3:]
        size = len(products)
        total, slopes = products.new_zeros(()), [torch.zeros_like(part) for part in triangles[:3]]
        at_once = _BLOCK_TRIPLETS_CPU if products.device.type == "cpu" else _BLOCK_TRIPLETS_GPU
        step = max(1, at_once // size**2)
        for block in (slice(start, start + step) for start in range(0, size, step)):
            target = _cosines(target_products, *(part[block] for part in target_rows))
            with torch.enable_grad():
                leaves = [
                    part.detach().requires_grad_() for part in (products, rows[0][block], rows[1][block])
                ]
                loss = smooth_l1_loss(_cosines(*leaves), target, reduction="sum")
            of_products, of_towards, of_inverse = torch.autograd.grad(loss, leaves)
            total += loss.detach()
            slopes[0] += of_products
            slopes[1][block], slopes[2][block] = of_towards, of_inverse
        ctx.save_for_backward(*(slope / size**3 for slope in slopes))
        return total / size**3

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        return (*(slope * saved for saved in ctx.saved_tensors), None, None, None)


@dataclass
class RKDAngle(LabelFree):
    """:func:`rkd_angle`."""

    normalise_student: bool = False

    facts = label_free("rkd-angle")

    def __call__(self, student: Tensor, teacher: Tensor | None, labels: Tensor | None = None) -> Tensor:
        """The loss of a batch, student [B, d] and teacher [B, D]; ``labels`` are not looked at."""
        return rkd_angle(student, bought(teacher, self.name), self.normalise_student)
