"""Descriptors on the wire: exact bytes both ways, and what cannot be a descriptor is refused."""

import base64
import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from shared.vectors import (
    UNIT_NORM_TOLERANCE,
    InvalidDescriptors,
    check_rows,
    decode_rows,
    descriptor_digest,
    encode_base64,
    encode_rows,
)

FLOATS = st.floats(width=32, allow_nan=False)
ROWS = hnp.arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 9)), elements=FLOATS)


def unit_rows(n: int = 3, dim: int = 8) -> NDArray[np.float32]:
    rows = np.random.default_rng(0).normal(size=(n, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@given(ROWS)
def test_rows_survive_the_wire_bit_for_bit(rows: NDArray[np.float32]) -> None:
    decoded = decode_rows(encode_rows(rows), rows.shape[1])
    assert decoded.dtype == np.float32
    assert decoded.tobytes() == rows.tobytes()
    assert decoded.shape == rows.shape


@given(ROWS)
def test_base64_carries_the_same_bits_as_raw_rows(rows: NDArray[np.float32]) -> None:
    assert base64.b64decode(encode_base64(rows[0]), validate=True) == encode_rows(rows[:1])


def test_the_bytes_are_little_endian_and_row_by_row_whatever_the_array() -> None:
    expected = struct.pack("<4f", 1.0, 2.0, 3.0, 4.0)
    rows = np.array([[1, 2], [3, 4]])
    for array in (rows.astype(np.float64), rows.astype(">f4"), np.asfortranarray(rows, dtype=np.float32)):
        assert encode_rows(array) == expected
    assert encode_rows(np.arange(8, dtype=np.float32)[::2]) == struct.pack("<4f", 0, 2, 4, 6)


def test_base64_is_openais_form() -> None:
    assert encode_base64(np.array([1.0])) == base64.b64encode(struct.pack("<f", 1.0)).decode()


def test_decoded_rows_are_the_receivers_own_and_writable() -> None:
    data = bytes(8)
    rows = decode_rows(data, 2)
    rows[0, 0] = 1.0
    assert data == bytes(8)


@pytest.mark.parametrize(("length", "dim"), [(7, 2), (12, 2), (1, 1), (8, 0), (8, -1)])
def test_bytes_that_are_no_whole_rows_are_refused(length: int, dim: int) -> None:
    with pytest.raises(
        InvalidDescriptors, match=f"{length} bytes are not a whole number of {dim}-d float32 rows"
    ):
        decode_rows(bytes(length), dim)


def test_no_bytes_are_no_rows() -> None:
    assert decode_rows(b"", 5).shape == (0, 5)


# Checks


def test_unit_rows_of_the_expected_shape_pass() -> None:
    check_rows(unit_rows(), n=3, dim=8)
    check_rows(unit_rows(0), n=0, dim=8)


@pytest.mark.parametrize(("n", "dim"), [(2, 8), (3, 7), (8, 3)])
def test_another_shape_is_refused_with_both(n: int, dim: int) -> None:
    with pytest.raises(
        InvalidDescriptors, match=rf"Expected descriptors of shape \({n}, {dim}\), got \(3, 8\)"
    ):
        check_rows(unit_rows(), n=n, dim=dim)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("unit_norm", [True, False])
def test_a_value_that_is_not_finite_is_refused_with_its_row(value: float, unit_norm: bool) -> None:
    rows = unit_rows()
    rows[1, 4] = value
    with pytest.raises(InvalidDescriptors, match="Descriptor 1 holds NaN or infinity"):
        check_rows(rows, n=3, dim=8, unit_norm=unit_norm)


@pytest.mark.parametrize("factor", [0.0, 0.5, 1 - 2 * UNIT_NORM_TOLERANCE, 1 + 2 * UNIT_NORM_TOLERANCE, 1e30])
def test_a_row_that_is_not_of_unit_length_is_refused_unless_that_was_agreed(factor: float) -> None:
    rows = unit_rows()
    rows[2] *= np.float32(factor)
    check_rows(rows, n=3, dim=8, unit_norm=False)
    with pytest.raises(InvalidDescriptors, match=r"Descriptor 2 has norm .*, expected 1"):
        check_rows(rows, n=3, dim=8)


@pytest.mark.parametrize("dim", [2, 128, 2048])
def test_rows_rounded_to_three_decimals_still_pass_at_usual_sizes(dim: int) -> None:
    check_rows(unit_rows(4, dim).round(3), n=4, dim=dim)


def test_a_digest_is_that_of_the_wire_bytes() -> None:
    row = unit_rows()[0]
    assert descriptor_digest(row) == hashlib.sha256(encode_rows(row)).hexdigest()
    assert descriptor_digest(row) == descriptor_digest(row.astype(np.float64))
    assert descriptor_digest(np.nextafter(row, np.float32(2))) != descriptor_digest(row)
