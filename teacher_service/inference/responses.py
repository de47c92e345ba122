"""The output policy: what of a descriptor is given away, as its bytes will be sent.

In: the network's float32 rows and the digests of their images. Out: :class:`Descriptor` values. The policy
is part of the teacher's revision; without options it changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.digest import JsonValue, float_text, sha256_hex
from shared.vectors import Float32Rows, encode_rows


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One descriptor as it is sent in every form: float32 little-endian bytes, and their SHA-256."""

    data: bytes
    digest: str


@dataclass(frozen=True)
class OutputPolicy:
    """Truncation, then noise, then rounding; the first two leave unit vectors.

    Noise is a function of the image and of a secret, so that asking twice does not average it away, and
    so that only who knows the secret can subtract it.
    """

    truncate_dims: int | None = None
    noise_sigma: float = 0.0
    noise_seed: str = ""
    decimals: int | None = None

    def dimension(self, network_dimension: int) -> int:
        """How many values a sent descriptor has."""
        return min(self.truncate_dims or network_dimension, network_dimension)

    def apply(self, rows: Float32Rows, images: Sequence[str]) -> list[Descriptor]:
        """float32 [n, dim] of the images with these digests -> what is sent for them."""
        values = rows[:, : self.truncate_dims] if self.truncate_dims else rows
        if self.truncate_dims:
            values = _unit(values)
        if self.noise_sigma:
            values = _unit(values + np.stack([self._noise(image, values.shape[1]) for image in images]))
        if self.decimals is not None:
            values = np.round(values.astype(np.float64), self.decimals).astype(np.float32)
        return [_descriptor(row) for row in values]

    def description(self) -> dict[str, JsonValue]:
        """The policy as part of the teacher's description; of the secret, only its digest."""
        return {
            "truncate_dims": self.truncate_dims,
            "noise_sigma": float_text(self.noise_sigma),
            "noise_seed_digest": sha256_hex(self.noise_seed.encode()) if self.noise_sigma else None,
            "decimals": self.decimals,
        }

    def _noise(self, image: str, dim: int) -> Float32Rows:
        seed = int(sha256_hex(f"{self.noise_seed}:{image}".encode()), 16)
        generator = np.random.Generator(np.random.PCG64(seed))
        return (generator.standard_normal(dim) * self.noise_sigma).astype(np.float32)


def _descriptor(row: Float32Rows) -> Descriptor:
    data = encode_rows(row)
    return Descriptor(data, sha256_hex(data))


def _unit(rows: Float32Rows) -> Float32Rows:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Float32Rows = (rows / np.maximum(norms, np.finfo(np.float32).tiny)).astype(np.float32)
    return unit
