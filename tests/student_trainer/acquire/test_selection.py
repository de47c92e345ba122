"""The choice of images: a function of their bytes and the seed alone."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from student_trainer.acquire.records import PlannedImage
from student_trainer.acquire.selection import choose
from student_trainer.errors import InvalidInput


def images(n: int, folder: str = "a") -> list[PlannedImage]:
    return [PlannedImage(f"{i:064x}", Path(folder) / f"{i}.jpg", "JPEG", 1, 1, 1) for i in range(n)]


def digests(chosen: list[PlannedImage]) -> list[str]:
    return [image.digest for image in chosen]


@given(n=st.integers(1, 40), wanted=st.data(), seed=st.integers(0, 2**63), order=st.randoms())
def test_order_and_names_of_the_files_do_not_matter(
    n: int, wanted: st.DataObject, seed: int, order: random.Random
) -> None:
    k = wanted.draw(st.integers(1, n))
    shuffled = images(n, folder="elsewhere")
    order.shuffle(shuffled)
    assert digests(choose("random", shuffled, k, seed)) == digests(choose("random", images(n), k, seed))


@given(seed=st.integers(0, 2**63), k=st.integers(1, 29))
def test_a_larger_choice_begins_with_the_smaller_one_and_growing_gives_the_same(seed: int, k: int) -> None:
    whole = choose("random", images(30), 30, seed)
    part = choose("random", images(30), k, seed)
    assert whole[:k] == part
    assert [*part, *choose("random", images(30), 30, seed, chosen=part)] == whole
    assert len({image.digest for image in whole}) == 30


def test_another_seed_gives_another_choice() -> None:
    assert digests(choose("random", images(100), 10, 0)) != digests(choose("random", images(100), 10, 1))


def test_every_image_is_chosen_about_equally_often() -> None:
    counts = dict.fromkeys(digests(images(20)), 0)
    for seed in range(1000):
        for digest in digests(choose("random", images(20), 5, seed)):
            counts[digest] += 1
    assert all(180 <= count <= 320 for count in counts.values())  # 250 expected, 13.7 standard deviation


def test_too_few_images_and_unknown_strategies_are_refused() -> None:
    with pytest.raises(InvalidInput, match="11 queries were asked for, but there are only 10 distinct"):
        choose("random", images(10), 11, 0)
    with pytest.raises(InvalidInput, match="no strategy 'best'; choose from: random"):
        choose("best", images(10), 5, 0)
