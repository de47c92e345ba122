"""Codes in bits: which bit stands where, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from student_trainer.evaluate.hamming.packing import as_words, bytes_of, check_codes, pack, unpack


def test_the_first_bit_stands_highest_in_the_first_byte_and_zero_is_no_one() -> None:
    values = np.array([[1.0, -1, 0, 2, -3, -1, -1, 5, 0.5, -0.5]])
    assert pack(values).tolist() == [[0b10010001, 0b10000000]]


@settings(max_examples=40)
@given(st.integers(1, 5), st.integers(1, 130), st.integers(0, 1000))
def test_signs_come_back(images: int, bits: int, seed: int) -> None:
    values = np.random.default_rng(seed).standard_normal((images, bits))
    codes = pack(values)
    assert codes.shape == (images, bytes_of(bits)) and codes.dtype == np.uint8
    assert (unpack(codes, bits) == np.where(values > 0, 1, -1)).all()


@settings(max_examples=40)
@given(st.integers(1, 5), st.integers(1, 20), st.integers(0, 1000))
def test_words_hold_the_same_bits_word_by_word(images: int, size: int, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(0, 256, (images, size), dtype=np.uint8)
    words = as_words(codes)
    assert words.shape == (-(-size // 8), images)
    for image in range(images):
        kept = b"".join(word.tobytes() for word in words[:, image])
        assert kept == codes[image].tobytes().ljust(len(kept), b"\0")


@pytest.mark.parametrize("values", [np.zeros(4), np.zeros((2, 0))])
def test_what_is_no_matrix_of_bits_is_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="Codes are made of"):
        pack(values)


def test_a_number_that_is_not_finite_has_no_sign() -> None:
    with pytest.raises(ValueError, match="Row 1 of the numbers"):
        pack(np.array([[1.0, 2.0], [np.nan, 1.0]]))


@pytest.mark.parametrize(
    ("codes", "bits", "message"),
    [
        (np.zeros((2, 3), np.uint8), 16, r"uint8 \[n, 2\], got uint8 of shape \(2, 3\)"),
        (np.zeros((2, 2), np.int8), 16, "got int8"),
        (np.full((2, 2), 255, np.uint8), 12, "hold bits beyond the last of 12"),
    ],
)
def test_codes_of_another_length_are_refused(codes: np.ndarray, bits: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_codes(codes, bits)
