"""Hard negatives are the most similar images of other labels, one of each, whoever describes them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from shared.images import Preprocessing
from student_trainer.distil.batches import BatchSource
from student_trainer.distil.data import TrainingData
from student_trainer.distil.images import digest_files, open_store
from student_trainer.distil.tuples import hardest
from student_trainer.distil.tuples.draws import Mining, TupleDraws
from student_trainer.distil.tuples.hardest import hardest_negatives
from student_trainer.distil.tuples.mining import mine
from student_trainer.errors import TrainingFailed


def by_walking(similarity: list[float], own: int, labels: list[int], count: int) -> list[int]:
    """Down the ranking of one anchor, past its own label and those that were met."""
    met = {own}
    taken: list[int] = []
    for place in sorted(range(len(labels)), key=lambda place: (-similarity[place], place)):
        if labels[place] not in met and len(taken) < count:
            met.add(labels[place])
            taken.append(place)
    return taken


@given(seed=st.integers(0, 2**16), anchors=st.integers(1, 9), levels=st.sampled_from([2, 3, 1000]))
def test_hardest_negatives_are_those_met_first_when_walking_down_the_ranking(
    seed: int, anchors: int, levels: int
) -> None:
    random = np.random.default_rng(seed)
    labels = random.permutation(np.concatenate([np.arange(6), random.integers(6, size=14)]))
    own = random.integers(8, size=anchors)  # two of them are in no image of the pool
    # One-hot anchors: the similarities are the pool's own numbers, few levels make them equal.
    numbers = torch.from_numpy(random.integers(levels, size=(20, anchors)) / levels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hardest, "_ANCHORS_AT_A_TIME", 4)
        places, cosines = hardest_negatives(
            torch.eye(anchors, dtype=torch.float64),
            torch.from_numpy(own),
            numbers,
            torch.from_numpy(labels),
            5,
        )
    for row in range(anchors):
        expected = by_walking(numbers[:, row].tolist(), own[row], labels.tolist(), 5)
        assert places[row].tolist() == expected
        assert cosines[row].tolist() == numbers[expected, row].tolist()


class MeanColour(nn.Module):
    """Describes an image by its mean colour, and notes in which mode."""

    def __init__(self) -> None:
        super().__init__()
        self.modes: set[bool] = set()

    def forward(self, images: Tensor) -> Tensor:
        self.modes.add(self.training)
        return images.mean(dim=(2, 3))


@pytest.fixture
def source(paint: Callable[[int], list[Path]], tmp_path: Path) -> BatchSource:
    """24 images of four places."""
    images = digest_files(paint(24))
    data = TrainingData(tuple(images), labels=np.arange(24) % 4)
    preprocessing = Preprocessing(32)
    store = open_store(tmp_path / "cache", images, preprocessing)
    return BatchSource(store, data, preprocessing, chunk_size=5, device=torch.device("cpu"))


def test_mined_tuples_are_the_draws_pairs_with_the_hardest_of_its_pool(source: BatchSource) -> None:
    draws = TupleDraws.of(Mining(3, anchors_per_epoch=10, pool_images=15), source.data, 1, epochs=2)
    network = MeanColour()
    described: list[int] = []
    mined, findings = mine(network.train(), source, draws, 2, described.append)
    draw, labels = draws.draw(2), source.data.labels
    assert labels is not None
    assert mined.epoch == 2
    np.testing.assert_array_equal(mined.tuples[:, :2], draw.pairs)
    assert set(mined.tuples[:, 2:].flat) <= set(draw.pool)

    units = np.zeros((24, 3), np.float32)
    for chunk in source.chunks(np.arange(24)):
        units[chunk.positions] = chunk.images.mean(dim=(2, 3))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    similarities = []
    for anchor, _, *negatives in mined.tuples:
        to_pool = units[draw.pool] @ units[anchor]
        expected = by_walking(to_pool.tolist(), labels[anchor], labels[draw.pool].tolist(), 3)
        assert negatives == draw.pool[expected].tolist()
        similarities += to_pool[expected].tolist()
    rows = {*draw.pool, *draw.pairs[:, 0]}
    assert (findings.described, findings.anchors) == (len(rows), 10)
    assert sum(described) == len(rows)
    assert findings.negative_similarity == pytest.approx(np.mean(similarities), rel=1e-5)


def test_against_the_teacher_the_student_describes_the_anchors_alone(source: BatchSource) -> None:
    """The pool is what was bought, in the teacher's dimensions; the student's are brought there."""
    bought = np.random.default_rng(5).standard_normal((24, 4)).astype(np.float32)
    source = replace(source, data=replace(source.data, teacher=bought))
    mining = Mining(3, anchors_per_epoch=10, pool_images=15, by_teacher=True)
    draws = TupleDraws.of(mining, source.data, 1, epochs=1)
    across = torch.randn(3, 4, generator=torch.Generator().manual_seed(3))
    described: list[int] = []
    mined, findings = mine(
        MeanColour(), source, draws, 1, described.append, into_teachers_space=lambda units: units @ across
    )
    draw, labels = draws.draw(1), source.data.labels
    assert labels is not None
    np.testing.assert_array_equal(mined.tuples[:, :2], draw.pairs)
    assert sum(described) == findings.described == findings.anchors == 10

    colours = np.zeros((24, 3), np.float32)
    for chunk in source.chunks(np.arange(24)):
        colours[chunk.positions] = chunk.images.mean(dim=(2, 3))
    queries = colours / np.linalg.norm(colours, axis=1, keepdims=True) @ across.numpy()
    pool = (bought / np.linalg.norm(bought, axis=1, keepdims=True))[draw.pool]
    for anchor, _, *negatives in mined.tuples:
        expected = by_walking(
            (pool @ queries[anchor]).tolist(), labels[anchor], labels[draw.pool].tolist(), 3
        )
        assert negatives == draw.pool[expected].tolist()


def test_the_student_is_asked_in_evaluation_mode_without_a_graph_and_left_as_it_was(
    source: BatchSource,
) -> None:
    draws = TupleDraws.of(Mining(2, 5, 24), source.data, 0, epochs=1)
    network = MeanColour().train()
    mine(network, source, draws, 1)
    assert network.modes == {False}
    assert network.training


def test_an_image_without_a_finite_descriptor_is_named(source: BatchSource) -> None:
    seen = replace(source, enter=lambda values, how: values.permute(0, 3, 1, 2) / (values.sum() * 0.0))
    draws = TupleDraws.of(Mining(2, 5, 24), source.data, 0, epochs=1)
    with pytest.raises(
        TrainingFailed, match=r"Mining for epoch 1: A descriptor is not finite; look at .*\.png"
    ):
        mine(MeanColour(), seen, draws, 1)
