"""Each epoch draws its own anchors, positives and pool, by the seed alone; labels that cannot are refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from student_trainer.distil.data import TrainingData
from student_trainer.distil.images import SourceImage
from student_trainer.distil.tuples.draws import Mining, TupleDraws
from student_trainer.errors import InvalidInput


def data(labels: list[int], pairs: list[tuple[int, int]] | None = None) -> TrainingData:
    images = tuple(SourceImage(Path(f"{row}.png"), f"{row:064}") for row in range(len(labels)))
    rows = None if pairs is None else np.array(pairs, np.int64).reshape(-1, 2)
    return TrainingData(images, labels=np.array(labels, np.int64), pairs=rows)


def draws(
    labels: list[int],
    pairs: list[tuple[int, int]] | None = None,
    *,
    negatives: int = 1,
    anchors: int = 2000,
    pool: int = 22_000,
    seed: int = 0,
    epochs: int = 1,
) -> TupleDraws:
    return TupleDraws.of(Mining(negatives, anchors, pool), data(labels, pairs), seed, epochs)


@given(
    labels=st.lists(st.integers(-1, 5), min_size=4, max_size=40),
    anchors=st.integers(1, 50),
    seed=st.integers(0, 99),
    epoch=st.integers(1, 9),
)
def test_anchors_stand_once_each_beside_another_image_of_their_label(
    labels: list[int], anchors: int, seed: int, epoch: int
) -> None:
    known = np.array(labels)
    fit = [row for row, label in enumerate(labels) if label >= 0 and labels.count(label) > 1]
    assume(fit and len(set(labels) - {-1}) > 1)
    some = draws(labels, anchors=anchors, seed=seed)
    pairs = some.draw(epoch).pairs
    assert some.anchors == len(pairs) == min(anchors, len(fit))
    assert len(set(pairs[:, 0])) == len(pairs)
    assert set(pairs[:, 0]) <= set(fit)
    assert (known[pairs[:, 0]] == known[pairs[:, 1]]).all()
    assert (pairs[:, 0] != pairs[:, 1]).all()


@given(labels=st.lists(st.integers(-1, 3), min_size=8, max_size=40), pool=st.integers(5, 50))
def test_the_pool_is_so_many_labelled_images_in_order(labels: list[int], pool: int) -> None:
    labelled = [row for row, label in enumerate(labels) if label >= 0]
    mining = Mining(1, 2000, pool)
    found = TupleDraws(mining, np.array(labels), np.array([[0, 1]]), seed=0).draw(1).pool
    assert len(found) == min(pool, len(labelled))
    assert set(found) <= set(labelled)
    assert sorted(set(found)) == list(found)


def test_every_other_image_of_the_label_is_a_positive_as_often_as_any() -> None:
    some = draws([0, 1, 0, 0, 1, 0, 0])
    drawn = [tuple(pair) for epoch in range(1, 801) for pair in some.draw(epoch).pairs if pair[0] == 2]
    counts = {positive: [pair[1] for pair in drawn].count(positive) for positive in (0, 3, 5, 6)}
    assert sum(counts.values()) == len(drawn) == 800
    assert all(abs(count - 200) < 60 for count in counts.values())  # five standard deviations


def test_a_draw_is_a_function_of_seed_and_epoch() -> None:
    labels = list(range(10)) * 4
    one, same, other = (draws(labels, anchors=7, pool=30, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.draw(2).pairs, same.draw(2).pairs)
    np.testing.assert_array_equal(one.draw(2).pool, same.draw(2).pool)
    for different in (one.draw(1), other.draw(2)):
        assert not np.array_equal(one.draw(2).pairs, different.pairs)
        assert not np.array_equal(one.draw(2).pool, different.pool)


def test_known_pairs_are_taken_as_they_are() -> None:
    pairs = [(0, 3), (3, 0), (1, 4)]
    some = draws([0, 1, 2, 0, 1, 0], pairs, anchors=2)
    assert some.anchors == 2
    seen = {tuple(pair) for epoch in range(1, 30) for pair in some.draw(epoch).pairs.tolist()}
    assert seen == set(pairs)
    assert some.alone == 0


def test_images_that_are_alone_with_their_label_are_counted_and_only_in_the_pool() -> None:
    some = draws([0, 0, 1, 2, -1])
    assert some.alone == 2
    assert sorted(some.draw(1).pairs.tolist()) == [[0, 1], [1, 0]]
    assert some.draw(1).pool.tolist() == [0, 1, 2, 3]


def test_what_labels_and_pairs_do_not_give_is_said() -> None:
    assert draws([0, 0, 1, 1]).sentence() is None
    assert "Labels with a single image: 1. Such an image can be a negative" in (
        draws([0, 0, 1]).sentence() or ""
    )
    few = draws([0, 1, 2, 0, 1, 0], [(0, 3), (3, 0), (1, 4)])
    assert (few.sentence() or "").startswith(
        "Pairs known to match among these images: 3. So an epoch has as many"
    )
    assert draws([0, 1, 2, 0, 1, 0], [(0, 3), (3, 0), (1, 4)], anchors=3).sentence() is None


class TestRefusals:
    def test_no_labels(self) -> None:
        images = data([0, 0]).images
        with pytest.raises(InvalidInput, match="there are no labels"):
            TupleDraws.of(Mining(1, 1, 1), TrainingData(images), 0, 1)

    def test_no_two_images_of_a_label(self) -> None:
        with pytest.raises(InvalidInput, match=r"no two images have the same label among 3 labelled images"):
            draws([0, 1, 2, -1, -1])

    def test_no_pair(self) -> None:
        with pytest.raises(InvalidInput, match="Nobody can be an anchor: there is no pair among 4"):
            draws([0, 0, 1, 1], [])

    @pytest.mark.parametrize(("pair", "first"), [((2, 1), "the images 2 and 1"), ((3, 3), "images 3 and 3")])
    def test_a_pair_that_is_not_two_images_of_a_label(self, pair: tuple[int, int], first: str) -> None:
        with pytest.raises(InvalidInput, match=f"1 of 3 pairs are not two images of one label, .*{first}"):
            draws([0, 0, 1, 1], [(0, 1), pair, (3, 2)])

    def test_fewer_labels_than_a_tuple_needs(self) -> None:
        with pytest.raises(InvalidInput, match=r"There are 3 labels, and a tuple needs 4: .*negatives=2"):
            draws([0, 0, 1, 2], negatives=3)

    def test_a_single_label(self) -> None:
        with pytest.raises(InvalidInput, match=r"There are 1 labels.*add images of other labels"):
            draws([0, 0, 0])

    def test_a_pool_that_is_too_small_in_any_epoch(self) -> None:
        labels = [0] * 40 + list(range(1, 41))
        with pytest.raises(
            InvalidInput, match=r"pool of 6 images .* has \d labels, too few .*pool_images=12"
        ):
            draws(labels, negatives=5, pool=6, epochs=30)
        draws(labels, negatives=5, pool=60, epochs=30)
