"""Euclidean distances within a batch, exact near 0 and with a gradient everywhere.

In: descriptors [B, d], float32 or float64. Out: their B x B distances, or the inner products that distances
and angles are made of.

Products are taken in float64, which no setting of the caller rounds. In float32, d^2 = |a|^2 + |b|^2 - 2ab
could give two copies of a descriptor a distance of 8e-4, and a gradient of any size and direction.
"""

from torch import Tensor

from student_trainer.errors import InvalidInput

ROUNDING = 1e-14
"""Squared distances below this share of the squared lengths are rounding, and count as 0: distances of 1.4e-7
for unit descriptors, the resolution of float32."""


FARTHEST = 2.0
"""Two unit descriptors are never farther apart."""


def check_margin(margin: float, *, above_zero: bool = False) -> None:
    """Raise ``InvalidInput`` for a margin that no two descriptors can keep, or a negative one."""
    if not 0 <= margin <= FARTHEST or (above_zero and margin == 0):
        distance = f"above 0 and at most {FARTHEST:g}" if above_zero else f"from 0 to {FARTHEST:g}"
        raise InvalidInput(
            f"margin = {margin}: take a distance {distance}, since two unit descriptors are never farther "
            "apart."
        )


def inner_products(rows: Tensor) -> Tensor:
    """[B, d] -> float64 [B, B]."""
    exact = rows.double()
    return exact @ exact.T


def squared_distances(products: Tensor) -> Tensor:
    """Inner products float64 [B, B] -> ||a - b||^2, [B, B]; exactly 0 on the diagonal and between copies.

    Entries that are 0 carry no gradient.
    """
    lengths = products.diagonal()
    sums = lengths[:, None] + lengths
    squares = sums - 2 * products
    same = squares.detach() <= ROUNDING * sums.detach()
    same.fill_diagonal_(True)
    return squares.masked_fill(same, 0.0)


def inverse_distances(squares: Tensor) -> Tensor:
    """1 / d of squared distances [B, B], and 0 where d is 0; differentiable everywhere."""
    none = squares == 0
    return squares.masked_fill(none, 1.0).rsqrt().masked_fill(none, 0.0)


def distances(rows: Tensor) -> Tensor:
    """Euclidean distances of rows [B, d] to each other, [B, B] of the rows' type.

    Where two rows are the same, the distance is 0 and so is its gradient.
    """
    squares = squared_distances(inner_products(rows))
    none = squares == 0
    lengths = squares.masked_fill(none, 1.0).sqrt().masked_fill(none, 0.0)
    return lengths.to(rows.dtype)
