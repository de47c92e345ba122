"""A linear map after the network, learned from matching pairs or by PCA: centred, projected, normalised.

In: rows of descriptors. Out: rows of as many or of fewer dimensions. Importing this loads no tensor library.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.vectors import Float32Rows

NORM_EPS = 1e-6
_ROWS_AT_ONCE = 8192
"""Rows that are held in float64 at a time: 128 MiB of 2048-d ones."""


@dataclass(frozen=True, eq=False)
class LearnedWhitening:
    """x -> P (x - m), then L2 (Radenovic et al. 2018). Raises ValueError where the two do not fit."""

    mean: NDArray[np.float64]
    """m, float64 [dim]."""
    projection: NDArray[np.float64]
    """P, float64 [kept, dim], the most telling dimension first; kept is usually dim."""

    def __post_init__(self) -> None:
        mean, projection = (np.asarray(array, dtype=np.float64) for array in (self.mean, self.projection))
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "projection", projection)
        if mean.ndim != 1 or projection.ndim != 2 or projection.shape[1] != len(mean) or not projection.size:
            raise ValueError(
                f"a whitening is a mean of D values and a projection of D columns; got the shapes "
                f"{mean.shape} and {projection.shape}"
            )
        if not (np.isfinite(mean).all() and np.isfinite(projection).all()):
            raise ValueError("a whitening holds NaN or infinity")

    @property
    def dim(self) -> int:
        """Length of the descriptors that it takes."""
        return len(self.mean)

    def apply(self, rows: NDArray[np.floating], dims: int | None = None) -> Float32Rows:
        """float [n, dim] -> float32 [n, dims], rows of unit length; computed in float64, in bounded memory.

        Args:
            rows: descriptors.
            dims: how many dimensions to keep, the first ones; None for all.

        Raises:
            ValueError: rows of another length, or no such number of dimensions.
        """
        kept = len(self.projection) if dims is None else dims
        if not 1 <= kept <= len(self.projection):
            raise ValueError(f"A whitening to {len(self.projection)} dimensions cannot give {kept}.")
        if rows.ndim != 2 or rows.shape[1] != self.dim:
            raise ValueError(f"A whitening of {self.dim}-d descriptors does not fit rows of {rows.shape}.")
        whitened = np.empty((len(rows), kept), dtype=np.float32)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = (rows[start : start + _ROWS_AT_ONCE] - self.mean) @ self.projection[:kept].T
            norms = np.linalg.norm(part, axis=1, keepdims=True)
            whitened[start : start + len(part)] = part / (norms + NORM_EPS)
        return whitened
