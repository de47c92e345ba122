"""Hash centres: orthogonal, or far apart and balanced; and the votes of several labels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from student_trainer.distil.hash_centres import (
    hadamard,
    hash_centres,
    majority,
    random_balanced,
)
from student_trainer.errors import InvalidInput


def distances(centres: np.ndarray) -> np.ndarray:
    """[n, n], counted bit by bit."""
    return np.array([[(a != b).sum() for b in centres] for a in centres])


def minimum_distance(centres: np.ndarray) -> int:
    """Bits in which the two nearest differ."""
    return int(distances(centres)[~np.eye(len(centres), dtype=bool)].min())


@pytest.mark.parametrize("side", [2, 4, 16, 64])
def test_hadamards_rows_are_orthogonal(side: int) -> None:
    matrix = hadamard(side).astype(int)
    assert (matrix @ matrix.T == side * np.eye(side)).all()


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_up_to_twice_as_many_classes_as_bits_differ_in_half_of_them_or_in_all(bits: int) -> None:
    centres = hash_centres(2 * bits, bits).numpy()
    assert (centres[:bits] == hadamard(bits)).all() and (centres[bits:] == -hadamard(bits)).all()
    off_diagonal = distances(centres)[~np.eye(2 * bits, dtype=bool)]
    assert set(off_diagonal.tolist()) == {bits // 2, bits}
    assert torch.equal(hash_centres(10, bits), torch.from_numpy(centres[:10]))


@pytest.mark.parametrize(
    ("classes", "bits", "at_least"), [(33, 16, 6), (100, 16, 4), (200, 64, 22), (300, 32, 8)]
)
def test_more_classes_have_balanced_centres_with_a_minimum_distance(
    classes: int, bits: int, at_least: int
) -> None:
    centres = hash_centres(classes, bits, seed=5).numpy()
    assert centres.shape == (classes, bits) and set(np.unique(centres).tolist()) == {-1, 1}
    assert (centres.sum(axis=1) == 0).all()
    assert minimum_distance(centres) >= at_least


@settings(max_examples=15)
@given(st.integers(9, 40), st.integers(0, 100))
def test_centres_are_all_different_and_follow_from_the_seed(classes: int, seed: int) -> None:
    centres = hash_centres(classes, 8, seed)
    assert len({tuple(row) for row in centres.tolist()}) == classes
    assert torch.equal(hash_centres(classes, 8, seed), centres)


def test_another_seed_draws_other_centres() -> None:
    assert not torch.equal(hash_centres(40, 16, 1), hash_centres(40, 16, 2))


@pytest.mark.parametrize("bits", [1, 3, 12, 48, 100])
def test_a_length_without_a_hadamard_matrix_is_refused(bits: int) -> None:
    with pytest.raises(InvalidInput, match=f"bits = {bits}: csq takes its hash centres"):
        hash_centres(4, bits)


def test_too_many_classes_for_so_few_bits_are_refused() -> None:
    with pytest.raises(
        InvalidInput, match=r"71 classes are too many for centres of 8 bits.*objective\.bits=16"
    ):
        hash_centres(71, 8)  # there are 70 balanced codes of 8 bits


def test_where_most_of_all_balanced_codes_are_wanted_they_differ_in_two_bits() -> None:
    assert minimum_distance(random_balanced(40, 8, 0)) == 2


def test_no_class_is_refused() -> None:
    with pytest.raises(InvalidInput, match="0 classes have no hash centres"):
        hash_centres(0, 16)


def test_the_majority_is_taken_bit_by_bit_and_ties_from_the_code_for_ties() -> None:
    centres = torch.tensor([[1, 1, -1, -1], [1, -1, -1, 1], [1, -1, 1, -1]])
    labels = torch.tensor([[1, 1, 1], [1, 1, 0], [0, 0, 0]])
    found = majority(centres, labels, torch.tensor([-1.0, 1.0, 1.0, -1.0]))
    assert found.tolist() == [[1, -1, -1, -1], [1, 1, -1, -1], [-1, 1, 1, -1]]
