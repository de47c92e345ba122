"""Search by Hamming distance against comparing every bit, on any number of threads."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from student_trainer.evaluate.hamming.kernels import BLOCK, bits_set
from student_trainer.evaluate.hamming.packing import Codes, bytes_of, pack
from student_trainer.evaluate.hamming.search import count_by_distance, nearest
from student_trainer.evaluate.relevance import relevance


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def codes(count: int, bits: int, seed: int) -> Codes:
    return pack(np.random.default_rng(seed).standard_normal((count, bits)))


def distances(queries: Codes, database: Codes) -> np.ndarray:
    """[Q, N], bit by bit."""
    return np.array([[np.unpackbits(q ^ d).sum() for d in database] for q in queries], dtype=int)


@pytest.mark.parametrize("word", [0, 1, 2**63, 2**64 - 1, 0x0123456789ABCDEF, 0xAAAAAAAAAAAAAAAA])
def test_bits_of_a_word_are_counted(word: int) -> None:
    assert bits_set(np.uint64(word)) == word.bit_count()


@settings(max_examples=25)
@given(st.integers(1, 6), st.integers(1, 60), st.sampled_from([1, 16, 48, 64, 65, 128, 200]), st.data())
def test_the_nearest_are_those_of_a_stable_sort(
    queries: int, size: int, bits: int, data: st.DataObject
) -> None:
    left, right = codes(queries, bits, 1), codes(size, bits, 2)
    k = data.draw(st.integers(1, size))
    order, found = nearest(left, right, bits, k)
    expected = distances(left, right)
    ranked = np.argsort(expected, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(order, ranked)
    np.testing.assert_array_equal(found, np.take_along_axis(expected, ranked, axis=1))


@settings(max_examples=25)
@given(st.integers(1, 6), st.integers(1, 60), st.sampled_from([5, 64, 70, 200]), st.booleans())
def test_images_are_counted_by_relevance_and_distance(
    queries: int, size: int, bits: int, several: bool
) -> None:
    left, right = codes(queries, bits, 3), codes(size, bits, 4)
    random = np.random.default_rng(size)
    if several:
        names = [
            tuple(f"l{n}" for n in np.flatnonzero(random.random(70) < 0.02)) or ("l0",)
            for _ in range(queries + size)
        ]
        alike = [[bool(set(a) & set(b)) for b in names[queries:]] for a in names[:queries]]
    else:
        names = [f"l{n}" for n in random.integers(0, 3, queries + size)]
        alike = [[a == b for b in names[queries:]] for a in names[:queries]]
    found = count_by_distance(left, right, bits, relevance(names[:queries], names[queries:]))
    expected = np.zeros((queries, 2, bits + 1), int)
    for query, row in enumerate(distances(left, right)):
        for place, distance in enumerate(row):
            expected[query, int(alike[query][place]), distance] += 1
    np.testing.assert_array_equal(found, expected)


def test_a_query_does_not_find_itself() -> None:
    both = codes(7, 32, 5)
    names = ["a", "b", "a", "b", "c", "a", "b"]
    own = [np.arange(i, i + (i != 3)) for i in range(7)]  # the fourth stands nowhere
    found = count_by_distance(both, both, 32, relevance(names, names), own)
    assert found.sum(axis=(1, 2)).tolist() == [6, 6, 6, 7, 6, 6, 6]
    assert found[:, 1].sum(axis=1).tolist() == [2, 2, 2, 3, 0, 2, 2]
    assert found[3, 1, 0] == 1 and not found[[0, 1, 2, 4, 5, 6], 1, 0].any()


def test_copies_of_a_query_are_not_counted_either() -> None:
    left, right = codes(1, 32, 5), np.concatenate([codes(1, 32, 5), codes(4, 32, 6), codes(1, 32, 5)])
    matching = relevance(["a"], ["a", "b", "a", "b", "b", "b"])
    found = count_by_distance(left, right, 32, matching, [np.array([0, 5])])
    assert found.sum() == 4 and found[0, 1].sum() == 1 and not found[0, :, 0].any()


@pytest.mark.usefixtures("two_threads")
def test_blocks_and_threads_change_nothing() -> None:
    left, right = codes(9, 64, 6), codes(BLOCK + 100, 64, 7)
    names = [f"l{n % 5}" for n in range(len(right))]
    order, found = nearest(left, right, 64, BLOCK + 50)
    counts = count_by_distance(left, right, 64, relevance(names[:9], names))
    for query in range(9):
        torch.set_num_threads(1)
        alone = left[query : query + 1]
        np.testing.assert_array_equal(nearest(alone, right, 64, BLOCK + 50)[0][0], order[query])
        one = count_by_distance(alone, right, 64, relevance(names[query : query + 1], names))
        np.testing.assert_array_equal(one[0], counts[query])
        assert (np.diff(found[query].astype(int)) >= 0).all()


def test_equal_codes_stand_in_the_order_of_the_database() -> None:
    order, found = nearest(codes(1, 16, 8), np.repeat(codes(1, 16, 9), 50, axis=0), 16, 50)
    assert order[0].tolist() == list(range(50)) and len(set(found[0].tolist())) == 1


def test_no_queries_find_nothing() -> None:
    none = np.empty((0, bytes_of(64)), np.uint8)
    assert nearest(none, codes(3, 64, 1), 64, 2)[0].shape == (0, 2)


@pytest.mark.parametrize("k", [0, 4])
def test_more_than_there_are_cannot_be_found(k: int) -> None:
    with pytest.raises(ValueError, match=f"k = {k}: from 1 to the 3 codes"):
        nearest(codes(1, 16, 1), codes(3, 16, 2), 16, k)


def test_labels_and_own_places_that_do_not_fit_are_refused() -> None:
    left, right = codes(2, 16, 1), codes(3, 16, 2)
    with pytest.raises(ValueError, match="do not fit the labels of 2 and 2"):
        count_by_distance(left, right, 16, relevance(["a", "b"], ["a", "b"]))
    fitting = relevance(["a", "b"], ["a", "b", "c"])
    for own in ([np.array([0])], [np.array([0]), np.array([3])], [np.array([-1]), np.array([0])]):
        with pytest.raises(ValueError, match="each of 2 queries in a database of 3"):
            count_by_distance(left, right, 16, fitting, own)
    with pytest.raises(ValueError, match="Codes of 24 bits"):
        nearest(left, right, 24, 1)


def test_relevance_without_labels_is_refused() -> None:
    class Everything:
        def of(self, query: int) -> np.ndarray:
            return np.ones(3, bool)

    with pytest.raises(TypeError, match="Everything cannot be counted"):
        count_by_distance(codes(2, 16, 1), codes(3, 16, 2), 16, Everything())
