"""The split of hashing papers: so many of each class, drawn alike by everyone."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from shared.digest import sha256_hex
from student_trainer.datasets.labelled.hashing_split import hashing_split


def names(count: int) -> list[str]:
    return [f"image {row}" for row in range(count)]


def test_of_cifars_classes_a_hundred_ask_and_five_hundred_are_trained_on() -> None:
    labels = np.random.default_rng(0).permutation(np.arange(60_000) % 10)
    drawn = hashing_split(labels[:, None] == np.arange(10), names(60_000))
    assert np.bincount(labels[drawn.queries]).tolist() == [100] * 10
    assert np.bincount(labels[drawn.trained]).tolist() == [500] * 10
    assert not (drawn.queries & drawn.trained).any()


def test_of_concepts_that_overlap_each_finds_its_own_images() -> None:
    random = np.random.default_rng(1)
    shows = random.random((60_000, 21)) < np.linspace(0.05, 0.4, 21)
    drawn = hashing_split(shows, names(60_000))
    assert (drawn.queries.sum(), drawn.trained.sum()) == (2_100, 10_500)
    assert (shows[drawn.queries].sum(axis=0) >= 100).all()
    assert (shows[drawn.trained].sum(axis=0) >= 500).all()


@given(arrays(bool, st.tuples(st.integers(1, 60), st.integers(1, 4))), st.randoms())
def test_the_draw_is_one_of_names_and_labels_and_not_of_their_order(
    shows: np.ndarray, random: object
) -> None:
    order = list(range(len(shows)))
    random.shuffle(order)  # type: ignore[attr-defined]
    called = names(len(shows))
    drawn = hashing_split(shows, called)
    again = hashing_split(shows[order], [called[row] for row in order])
    assert np.array_equal(drawn.queries[order], again.queries)
    assert np.array_equal(drawn.trained[order], again.trained)
    assert not (drawn.queries & drawn.trained).any()
    assert not drawn.queries[~shows.any(axis=1)].any()


def test_small_classes_keep_images_to_be_searched() -> None:
    for size in range(2, 40):
        drawn = hashing_split(np.ones((size, 1), bool), names(size))
        assert drawn.queries.sum() == max(1, size // 10)
        assert (~drawn.queries).any()


def test_who_asks_are_the_first_by_the_digest_of_the_name() -> None:
    drawn = hashing_split(np.ones((20, 1), bool), names(20))
    first = sorted(names(20), key=lambda name: sha256_hex(name.encode()))[:2]
    assert {name for name, asks in zip(names(20), drawn.queries, strict=True) if asks} == set(first)
