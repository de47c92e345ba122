"""The choice of images: a function of their bytes and the seed alone, whatever the strategy."""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from student_trainer.acquire.records import PlannedImage
from student_trainer.acquire.selection.choice import METHODS, choose
from student_trainer.errors import InvalidInput


def images(n: int, folder: str = "a") -> list[PlannedImage]:
    return [PlannedImage(f"{i:064x}", Path(folder) / f"{i}.jpg", "JPEG", 1, 1, 1) for i in range(n)]


def describe(some: Sequence[PlannedImage]) -> np.ndarray:
    """Unit rows that hang on an image's digest alone."""
    rows = np.stack([np.random.default_rng(int(image.digest, 16)).normal(size=6) for image in some])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def digests(chosen: list[PlannedImage]) -> list[str]:
    return [image.digest for image in chosen]


@pytest.mark.parametrize("strategy", METHODS)
@given(n=st.integers(1, 40), wanted=st.data(), seed=st.integers(0, 2**63), order=st.randoms())
def test_order_and_names_of_the_files_do_not_matter(
    strategy: str, n: int, wanted: st.DataObject, seed: int, order: random.Random
) -> None:
    k = wanted.draw(st.integers(1, n))
    shuffled = images(n, folder="elsewhere")
    order.shuffle(shuffled)
    here = choose(strategy, images(n), k, seed, describe=describe)
    assert digests(choose(strategy, shuffled, k, seed, describe=describe)) == digests(here)


@pytest.mark.parametrize("strategy", [name for name, method in METHODS.items() if method.nested])
@given(seed=st.integers(0, 2**63), k=st.integers(1, 29))
def test_a_larger_choice_begins_with_the_smaller_one_and_growing_gives_the_same(
    strategy: str, seed: int, k: int
) -> None:
    whole = choose(strategy, images(30), 30, seed, describe=describe)
    part = choose(strategy, images(30), k, seed, describe=describe)
    assert whole[:k] == part
    assert [*part, *choose(strategy, images(30), 30, seed, chosen=part, describe=describe)] == whole
    assert len({image.digest for image in whole}) == 30


@pytest.mark.parametrize("strategy", METHODS)
@given(seed=st.integers(0, 99), first=st.sampled_from(sorted(METHODS)), k=st.integers(1, 20))
def test_every_strategy_fills_up_around_what_another_chose(
    strategy: str, seed: int, first: str, k: int
) -> None:
    bought = choose(first, images(30), k, seed, describe=describe)
    added = choose(strategy, images(30), 25, seed + 1, chosen=bought, describe=describe)
    assert len({image.digest for image in [*bought, *added]}) == 25


@pytest.mark.parametrize("strategy", METHODS)
def test_another_seed_gives_another_choice(strategy: str) -> None:
    one, other = (digests(choose(strategy, images(100), 10, seed, describe=describe)) for seed in (0, 1))
    assert one != other


@pytest.mark.parametrize("strategy", [name for name, method in METHODS.items() if method.looks])
def test_a_strategy_that_looks_at_images_needs_descriptors(strategy: str) -> None:
    with pytest.raises(ValueError, match="give a way to describe them"):
        choose(strategy, images(3), 2, 0)


def test_every_image_is_chosen_about_equally_often() -> None:
    counts = dict.fromkeys(digests(images(20)), 0)
    for seed in range(1000):
        for digest in digests(choose("random", images(20), 5, seed)):
            counts[digest] += 1
    assert all(180 <= count <= 320 for count in counts.values())  # 250 expected, 13.7 standard deviation


def test_too_few_images_and_unknown_strategies_are_refused() -> None:
    with pytest.raises(InvalidInput, match="11 queries were asked for, but there are only 10 distinct"):
        choose("random", images(10), 11, 0)
    with pytest.raises(
        InvalidInput, match="no strategy 'best'; choose from: random, k-center, cluster, density"
    ):
        choose("best", images(10), 5, 0)
