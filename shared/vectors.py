"""Descriptors on the wire: float32, little-endian, row by row, and the checks on what arrives.

In: float arrays or received bytes. Out: bytes or float32 arrays of shape [n, dim]. No I/O.
"""

import base64

import numpy as np
from numpy.typing import NDArray

from shared.digest import sha256_hex

Float32Rows = NDArray[np.float32]

BYTES_PER_VALUE = 4
UNIT_NORM_TOLERANCE = 1e-3
"""How far a received norm may be from 1: an API that rounds to three decimals stays inside."""


class InvalidDescriptors(ValueError):
    """Received descriptors have the wrong size, a value that is not finite, or a norm that is not 1."""


def encode_rows(rows: NDArray[np.floating]) -> bytes:
    """float [n, dim] or [dim] -> n * dim * 4 bytes, little-endian, row-major."""
    return np.ascontiguousarray(rows, dtype="<f4").tobytes()


def decode_rows(data: bytes, dim: int) -> Float32Rows:
    """Bytes -> float32 [n, dim].

    Raises:
        InvalidDescriptors: the length is not a whole number of rows.
    """
    row_bytes = dim * BYTES_PER_VALUE
    if dim < 1 or len(data) % row_bytes:
        raise InvalidDescriptors(
            f"{len(data)} bytes are not a whole number of {dim}-d float32 rows ({row_bytes} bytes each)."
        )
    return np.frombuffer(data, dtype="<f4").reshape(-1, dim).astype(np.float32)


def encode_base64(row: NDArray[np.floating]) -> str:
    """One descriptor as base64 of its float32 bytes, the form of OpenAI's ``encoding_format=base64``."""
    return base64.b64encode(encode_rows(row)).decode("ascii")


def check_rows(rows: Float32Rows, *, n: int, dim: int, unit_norm: bool = True) -> None:
    """Refuse descriptors that cannot be what was asked for.

    Raises:
        InvalidDescriptors: wrong shape, NaN or infinity, or (with ``unit_norm``) a norm away from 1;
            the message names the first bad row.
    """
    if rows.shape != (n, dim):
        raise InvalidDescriptors(f"Expected descriptors of shape {(n, dim)}, got {tuple(rows.shape)}.")
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise InvalidDescriptors(f"Descriptor {int(np.argmin(finite))} holds NaN or infinity.")
    if unit_norm:
        norms = np.linalg.norm(rows.astype(np.float64), axis=1)
        wrong = np.abs(norms - 1.0) > UNIT_NORM_TOLERANCE
        if wrong.any():
            first = int(np.argmax(wrong))
            raise InvalidDescriptors(f"Descriptor {first} has norm {norms[first]:.6g}, expected 1.")


def descriptor_digest(row: NDArray[np.floating]) -> str:
    """SHA-256 of one descriptor's float32 little-endian bytes; what receipts name."""
    return sha256_hex(encode_rows(row))
