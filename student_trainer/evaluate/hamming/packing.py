"""Binary codes in bits: eight to a byte to be kept, sixty-four to a word to be compared.

In: the numbers of a hash layer, or packed codes. Out: packed codes uint8 [n, ceil(bits / 8)]; or words.

Bit j of a code is 1 where number j is above 0. It stands in byte j // 8, the first bit highest (numpy's own
order); bits beyond the last are 0.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
Words = NDArray[np.uint64]

BITS_IN_A_BYTE = 8
_BYTES_IN_A_WORD = 8


def pack(values: NDArray[np.floating[Any]]) -> Codes:
    """The codes of [n, bits] numbers.

    Raises:
        ValueError: not a matrix, without bits, or a number that is not finite.
    """
    if values.ndim != 2 or values.shape[1] < 1:
        raise ValueError(f"Codes are made of [images, bits], got shape {values.shape}.")
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise ValueError(f"Row {int(np.argmin(finite))} of the numbers to make codes of is not finite.")
    return np.packbits(values > 0, axis=1)


def unpack(codes: Codes, bits: int) -> NDArray[np.int8]:
    """+1 and -1, [n, bits], of packed codes."""
    check_codes(codes, bits)
    return np.unpackbits(codes, axis=1, count=bits).astype(np.int8) * 2 - 1


def bytes_of(bits: int) -> int:
    """Bytes that a code of so many bits takes."""
    return -(-bits // BITS_IN_A_BYTE)


def check_codes(codes: Codes, bits: int) -> None:
    """Raises ValueError where they are not packed codes of so many bits, or hold bits beyond the last."""
    if codes.ndim != 2 or codes.dtype != np.uint8 or bits < 1 or codes.shape[1] != bytes_of(bits):
        raise ValueError(
            f"Codes of {bits} bits are uint8 [n, {bytes_of(bits)}], got {codes.dtype} of shape {codes.shape}."
        )
    beyond = (1 << (-bits % BITS_IN_A_BYTE)) - 1
    if beyond and (codes[:, -1] & beyond).any():
        raise ValueError(
            f"These codes hold bits beyond the last of {bits}: they are longer, or not packed so."
        )


def as_words(codes: Codes) -> Words:
    """The same bits in words [W, n]: the first word of every code, then the second of every code."""
    padded = np.zeros((len(codes), -(-codes.shape[1] // _BYTES_IN_A_WORD) * _BYTES_IN_A_WORD), np.uint8)
    padded[:, : codes.shape[1]] = codes
    return np.ascontiguousarray(padded.view(np.uint64).T)
