"""Exact search block by block, against the full ranking of the same rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from student_trainer.evaluate.ranking import rank
from student_trainer.evaluate.search import blocks
from student_trainer.evaluate.search.exact import ranks_of, top_k

seeds = st.integers(0, 10_000)


def rows(seed: int, n: int, dim: int = 3, dtype: type = np.float32) -> np.ndarray:
    """Small whole numbers: products are exact in every form, and many similarities are equal."""
    return np.random.default_rng(seed).integers(-2, 3, (n, dim)).astype(dtype)


def blocks_of(count: int, queries: int, dim: int = 3) -> pytest.MonkeyPatch:
    """Cut databases into blocks of ``count`` rows."""
    patch = pytest.MonkeyPatch()
    patch.setattr(blocks, "BLOCK_BYTES", count * 4 * (dim + 2 * queries))
    return patch


@given(seeds, st.integers(1, 5), st.integers(0, 40), st.integers(1, 45), st.integers(1, 12))
def test_the_best_k_are_the_first_k_of_the_full_ranking_however_the_database_is_cut(seed, q, n, k, block):
    queries, database = rows(seed, q), rows(seed + 1, n)
    expected = rank(queries, database).T[:, :k]
    patch = blocks_of(block, q)
    found = top_k(queries, database, k)
    patch.undo()
    assert found.indices.tolist() == expected.tolist()
    assert found.similarities.tolist() == np.take_along_axis(queries @ database.T, expected, axis=1).tolist()


@given(seeds, st.integers(1, 5), st.integers(1, 40), st.integers(1, 12), st.data())
def test_counted_ranks_are_the_places_in_the_full_ranking(seed, q, n, block, data):
    queries, database = rows(seed, q), rows(seed + 1, n)
    listed = [
        np.array(data.draw(st.lists(st.integers(0, n - 1), unique=True)), dtype=np.int64) for _ in range(q)
    ]
    places = np.argsort(rank(queries, database), axis=0)
    patch = blocks_of(block, q)
    counted = ranks_of(queries, database, listed)
    patch.undo()
    for query, indices in enumerate(listed):
        assert counted[query].tolist() == places[indices, query].tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_real_similarities_are_ranked_as_by_the_full_ranking(dtype):
    random = np.random.default_rng(0)
    queries = random.standard_normal((7, 32)).astype(np.float32)
    database = random.standard_normal((5_000, 32)).astype(dtype)
    database[4_000:] = database[:1_000]  # exact duplicates, far apart
    order = rank(queries, database.astype(np.float32))
    patch = blocks_of(777, 7, 32)
    found = top_k(queries, database, 50)
    listed = [random.choice(5_000, 60, replace=False) for _ in range(7)]
    counted = ranks_of(queries, database, listed)
    patch.undo()
    assert (found.indices == order.T[:, :50]).all()
    places = np.argsort(order, axis=0)
    for query, indices in enumerate(listed):
        assert (counted[query] == places[indices, query]).all()


def test_a_memory_map_gives_what_the_array_gives(tmp_path):
    queries, database = rows(0, 4), rows(1, 90)
    database.astype(np.float16).tofile(tmp_path / "database")
    mapped = np.memmap(tmp_path / "database", np.float16, "r", shape=(90, 3))
    expected = top_k(queries, database, 9)
    patch = blocks_of(13, 4)
    assert (top_k(queries, mapped, 9).indices == expected.indices).all()
    listed = [np.array([5, 80])] * 4
    assert all(map(np.array_equal, ranks_of(queries, mapped, listed), ranks_of(queries, database, listed)))
    patch.undo()


def test_blocks_without_a_listed_image_are_read_once():
    class Watched:
        shape = (40, 3)

        def __init__(self):
            self.read = []

        def __getitem__(self, part):
            self.read.append(part.start)
            return rows(1, 40)[part]

    database = Watched()
    patch = blocks_of(10, 2)
    ranks_of(rows(0, 2), database, [np.array([12]), np.array([35, 11])])
    patch.undo()
    assert database.read == [10, 30, 0, 10, 20, 30]


def test_progress_counts_every_row_once():
    seen = []
    patch = blocks_of(16, 2)
    top_k(rows(0, 2), rows(1, 40), 3, seen.append)
    ranks_of(rows(0, 2), rows(1, 40), [np.array([1]), np.array([2])], seen.append)
    patch.undo()
    assert seen == [16, 16, 8] * 2


def test_no_queries_find_nothing():
    assert top_k(rows(0, 0), rows(1, 5), 3).indices.shape == (0, 3)
    assert ranks_of(rows(0, 0), rows(1, 5), []) == []


def test_a_query_that_lists_no_image_has_no_ranks():
    assert ranks_of(rows(0, 2), rows(1, 5), [np.empty(0, np.int64), np.array([3])])[0].tolist() == []


def test_a_search_for_nothing_is_refused():
    with pytest.raises(ValueError, match="k of at least 1, got 0"):
        top_k(rows(0, 1), rows(1, 5), 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_database_row_that_is_not_finite_is_refused_by_its_index(value, dtype):
    database = rows(1, 60, dtype=dtype)
    database[41, 1] = value
    patch = blocks_of(16, 2)
    with pytest.raises(ValueError, match="Database descriptor 41 holds NaN or infinity"):
        top_k(rows(0, 2), database, 3)
    patch.undo()


def test_queries_that_cannot_be_compared_are_refused():
    broken = rows(0, 2)
    broken[1, 0] = np.nan
    with pytest.raises(ValueError, match="Query descriptor 1 holds NaN"):
        top_k(broken, rows(1, 5), 1)
    with pytest.raises(ValueError, match="Queries have 4 dimensions, the database 3"):
        top_k(rows(0, 2, dim=4), rows(1, 5), 1)
    with pytest.raises(ValueError, match=r"Query descriptors must be \[n, d\], got shape \(3,\)"):
        top_k(rows(0, 1)[0], rows(1, 5), 1)
    with pytest.raises(ValueError, match=r"Database descriptors must be \[n, d\], got shape \(5,\)"):
        top_k(rows(0, 2), np.ones(5, np.float32), 1)


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ([[1]], "1 lists of images were given for 2 queries"),
        ([[1], [5]], "Query 1 lists an image outside the database of 5"),
        ([[-1], [0]], "Query 0 lists an image outside"),
        ([[1, 1], [0]], "Query 0 lists an image twice"),
    ],
)
def test_lists_that_do_not_fit_the_database_are_refused(listed, message):
    with pytest.raises(ValueError, match=message):
        ranks_of(rows(0, 2), rows(1, 5), [np.array(one) for one in listed])
