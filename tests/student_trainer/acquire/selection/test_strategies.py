"""The strategies on made-up descriptors: what each promises, and the theorems behind it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from student_trainer.acquire.selection import strategy as strategy_module
from student_trainer.acquire.selection.choice import METHODS
from student_trainer.acquire.selection.cluster import cluster
from student_trainer.acquire.selection.density import NEIGHBOURS, SHARE, density, threshold
from student_trainer.acquire.selection.k_center import k_center
from student_trainer.acquire.selection.k_means import k_means, spread_start
from student_trainer.acquire.selection.uniform import uniform


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def scattered(n: int, dim: int, seed: int) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(n, dim)))


def places(sizes: list[int], seed: int, noise: float = 0.03, dim: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Tight groups around random directions, shuffled: rows, and the group of each."""
    random = np.random.default_rng(seed)
    group = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centres = random.normal(size=(len(sizes), dim)) / np.sqrt(dim)
    return unit(centres[group] + noise * random.normal(size=(len(group), dim))), group


def radius(rows: np.ndarray, chosen: list[int]) -> float:
    """Euclidean distance of the worst served row to its nearest chosen row."""
    rows = rows.astype(np.float64)
    distance = np.linalg.norm(rows[:, None] - rows[chosen][None], axis=2)
    return float(distance.min(axis=1).max())


@given(n=st.integers(2, 40), data=st.data(), seed=st.integers(0, 10_000))
def test_no_choice_covers_twice_as_well_as_k_center(n: int, data: st.DataObject, seed: int) -> None:
    rows = scattered(n, 3, seed)
    k = data.draw(st.integers(1, n))
    other = data.draw(st.permutations(range(n)))[:k]
    assert radius(rows, k_center(rows, [], k)) <= 2 * radius(rows, other) + 1e-5


@pytest.mark.parametrize("seed", range(20))
def test_on_clustered_images_k_center_covers_at_least_as_well_as_random(seed: int) -> None:
    rows, group = places([60, 30, 8, 4, 2, 1], seed)
    for k in (6, 12, 24):
        chosen = k_center(rows, [], k)
        assert set(group[chosen]) == set(range(6))
        assert radius(rows, chosen) <= radius(rows, uniform(rows, [], k))


def test_k_center_starts_from_what_is_bought() -> None:
    rows, group = places([10, 10, 10], seed=1)
    bought = np.flatnonzero(group < 2)[:15].tolist()
    assert group[k_center(rows, bought, 1)[0]] == 2


@given(
    n=st.integers(1, 40), data=st.data(), seed=st.integers(0, 10_000), name=st.sampled_from(sorted(METHODS))
)
def test_additions_are_distinct_and_free_also_among_equal_images(
    n: int, data: st.DataObject, seed: int, name: str
) -> None:
    rows = scattered(3, 4, seed)[np.random.default_rng(seed).integers(0, 3, n)]
    chosen = data.draw(st.lists(st.integers(0, n - 1), unique=True, max_size=n))
    wanted = data.draw(st.integers(0, n - len(chosen)))
    added = METHODS[name].strategy(rows, chosen, wanted)
    assert len(added) == wanted == len(set(added) - set(chosen))
    assert all(type(index) is int and 0 <= index < n for index in added)


@given(n=st.integers(1, 60), data=st.data(), seed=st.integers(0, 10_000))
def test_no_moving_cluster_is_ever_left_empty(n: int, data: st.DataObject, seed: int) -> None:
    rows = scattered(8, 3, seed)[np.random.default_rng(seed).integers(0, 8, n)]
    k, still = data.draw(st.integers(1, n)), data.draw(st.integers(0, 5))
    owner, centres = k_means(rows, rows[:k], scattered(still, 3, seed + 1) if still else rows[:0])
    assert set(range(k)) <= set(owner.tolist()) <= set(range(k + still))
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, atol=1e-5)


def test_clusters_are_as_tight_as_those_of_scikit_learn() -> None:
    rows, group = places([40, 30, 20, 10], seed=3, noise=0.1)
    theirs = KMeans(4, n_init=5, random_state=0).fit(rows).labels_
    start = np.stack([rows[group == place][0] for place in range(4)])
    owner, _ = k_means(rows, start, rows[:0])
    assert {frozenset(np.flatnonzero(owner == j)) for j in range(4)} == {
        frozenset(np.flatnonzero(theirs == j)) for j in range(4)
    }


def test_too_few_rows_for_the_clusters_are_refused() -> None:
    with pytest.raises(ValueError, match="2 rows cannot fill 3 clusters"):
        k_means(scattered(2, 3, 0), scattered(3, 3, 1), scattered(1, 3, 2)[:0])


def test_rows_that_cancel_each_other_out_leave_their_centre_where_it_was() -> None:
    rows = np.array([[1, 0], [-1, 0]], dtype=np.float32)
    _, centres = k_means(rows, np.array([[0, 1]], dtype=np.float32), rows[:0])
    assert centres.tolist() == [[0, 1]]


@pytest.mark.parametrize("seed", range(5))
def test_each_medoid_is_the_member_nearest_to_its_centre_and_the_largest_cluster_comes_first(
    seed: int,
) -> None:
    rows, _ = places([30, 20, 10], seed, noise=0.2)
    added = cluster(rows, [], 5)
    owner, centres = k_means(rows, spread_start(rows, rows[:0], 5), rows[:0])
    sizes = np.bincount(owner[added], weights=np.bincount(owner)[owner[added]], minlength=5)
    for index in added:
        members = np.flatnonzero(owner == owner[index])
        assert rows[index] @ centres[owner[index]] >= (rows[members] @ centres[owner[index]]).max() - 1e-6
    assert [sizes[owner[index]] for index in added] == sorted(sizes, reverse=True)


def test_clusters_form_around_what_the_bought_images_leave() -> None:
    rows, group = places([50, 50, 5, 5], seed=2)
    bought = [int(np.flatnonzero(group == place)[0]) for place in (0, 1)]
    assert sorted(group[cluster(rows, bought, 2)]) == [2, 3]


@given(n=st.integers(1, 30), data=st.data(), seed=st.integers(0, 1000), still=st.integers(0, 3))
def test_centres_begin_on_different_images_as_long_as_there_are_any(
    n: int, data: st.DataObject, seed: int, still: int
) -> None:
    rows = scattered(n, 5, seed)
    k = data.draw(st.integers(1, n))
    start = spread_start(rows, scattered(still, 5, seed + 1) if still else rows[:0], k)
    assert len({row.tobytes() for row in start}) == k


def neighbours_within(rows: np.ndarray, chosen: list[int], least: float) -> np.ndarray:
    """How many other chosen rows each chosen row has above a cosine."""
    similar = rows[chosen] @ rows[chosen].T > least
    return np.asarray(similar.sum(axis=1) - 1)


@pytest.mark.parametrize("seed", range(10))
def test_what_density_chooses_has_neighbours_where_a_random_choice_has_few(seed: int) -> None:
    """30 places with 10 photographs each, and 300 photographs of nothing in particular."""
    rows, _ = places([10] * 30 + [1] * 300, seed)
    dense, random = (choose(rows, [], 90) for choose in (density, uniform))
    alone_dense, alone_random = (np.mean(neighbours_within(rows, c, 0.75) == 0) for c in (dense, random))
    assert alone_dense <= 0.05
    assert alone_random >= 0.4


def test_density_serves_every_dense_place_before_it_returns_to_one() -> None:
    rows, group = places([40, 12, 12, 12], seed=4, noise=0)
    first = density(rows, [], 12)
    assert np.bincount(group[first], minlength=4).tolist() == [3, 3, 3, 3]


def test_density_counts_what_is_bought_as_service() -> None:
    rows, group = places([20, 20], seed=5, noise=0)
    bought = np.flatnonzero(group == 0)[:6].tolist()
    assert set(group[density(rows, bought, 3)]) == {1}


def test_what_is_nobodys_neighbour_comes_last() -> None:
    rows, group = places([12] * 5 + [1] * 20, seed=6, noise=0, dim=64)
    order = density(rows, [], len(rows))
    assert set(group[order[:60]]) == set(range(5))
    assert order[60:] == sorted(order[60:])  # the order that the seed draws


def test_the_threshold_gives_its_share_of_the_images_enough_neighbours() -> None:
    rows = scattered(400, 8, seed=7)
    similar = rows @ rows.T
    np.fill_diagonal(similar, -1)
    enough = (similar >= threshold(rows)).sum(axis=1) >= NEIGHBOURS
    assert enough.mean() == pytest.approx(SHARE, abs=0.01)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_size_of_blocks_decides_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, _ = places([9] * 6, seed=8)
    whole = METHODS[name].strategy(rows, [3, 4], 20)
    monkeypatch.setattr(strategy_module, "SIMILARITIES_AT_ONCE", 200)
    assert METHODS[name].strategy(rows, [3, 4], 20) == whole
