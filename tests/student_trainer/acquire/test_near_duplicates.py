"""Near-duplicates: what is planted is found, what only looks alike in the dark is not, and it stays quick."""

import itertools
import random
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from student_trainer.acquire import near_duplicates
from student_trainer.acquire.near_duplicates import RADIUS, Fingerprint, find, fingerprint
from student_trainer.acquire.records import PlannedImage

GREY = bytes([128]) * 216


def scene(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """A few large shapes, as a photograph has."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", size, tuple(int(v) for v in random.integers(0, 256, 3)))
    pen = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, w, h = (int(v) for v in random.integers(0, 200, 4))
        pen.ellipse((x, y, x + w, y + h), fill=tuple(int(v) for v in random.integers(0, 256, 3)))
    return image


def planned(number: int, width: int = 10) -> PlannedImage:
    return PlannedImage(f"{number:064x}", Path(f"{number}.jpg"), "JPEG", 1, width, 10)


def saved_again(image: Image.Image, path: Path, quality: int) -> Image.Image:
    image.save(path, quality=quality)
    return Image.open(path).convert("RGB")


@pytest.mark.parametrize("seed", range(10))
def test_a_photograph_saved_again_or_made_smaller_is_found(seed: int, tmp_path: Path) -> None:
    original = scene(seed)
    seen = fingerprint(original)
    for changed in (
        saved_again(original, tmp_path / "a.jpg", 40),
        original.resize((160, 120), Image.Resampling.LANCZOS),
        saved_again(original.resize((200, 150)), tmp_path / "b.jpg", 75),
    ):
        assert seen.is_near(fingerprint(changed))


def test_different_scenes_are_not_near_one_another() -> None:
    seen = [fingerprint(scene(seed)) for seed in range(60)]
    assert not any(one.is_near(other) for one, other in itertools.combinations(seen, 2))


def test_blank_walls_of_different_colours_agree_in_all_bits_and_are_still_told_apart() -> None:
    red, blue = (fingerprint(Image.new("RGB", (50, 40), colour)) for colour in ("#a03020", "#2030a0"))
    assert red.bits == blue.bits
    assert not red.is_near(blue)
    assert red.is_near(fingerprint(Image.new("RGB", (90, 70), "#a23222")))


@given(bits=st.integers(0, 2**64 - 1), changed=st.sets(st.integers(0, 63), max_size=RADIUS))
def test_any_three_bits_may_differ(bits: int, changed: set[int]) -> None:
    other = bits ^ sum(1 << place for place in changed)
    prints = {planned(1).digest: Fingerprint(bits, GREY), planned(2).digest: Fingerprint(other, GREY)}
    assert find([planned(1), planned(2)], prints) == {planned(2): planned(1)}


def test_four_bits_may_not() -> None:
    prints = {planned(1).digest: Fingerprint(0, GREY), planned(2).digest: Fingerprint(0b1111, GREY)}
    assert find([planned(1), planned(2)], prints) == {}


def test_a_chain_of_small_changes_does_not_sweep_away_its_far_end() -> None:
    prints = {planned(i).digest: Fingerprint((1 << 3 * i) - 1, GREY) for i in range(4)}
    images = [planned(i) for i in range(4)]
    assert find(images, prints) == {images[1]: images[0], images[3]: images[2]}


def test_the_one_with_most_pixels_is_kept_and_what_is_paid_for_before_it() -> None:
    small, large, paid = planned(1), planned(2, width=90), planned(3)
    prints = {image.digest: Fingerprint(7, GREY) for image in (small, large, paid)}
    assert find([small, large], prints) == {small: large}
    assert find([small, large, paid], prints, keep=[paid.digest]) == {small: paid, large: paid}
    assert find([small, large], prints, keep=[small.digest, large.digest]) == {}


@given(order=st.permutations(range(12)))
def test_neither_names_nor_order_matter(order: list[int]) -> None:
    prints = {planned(i).digest: Fingerprint(i // 3 << 20, GREY) for i in range(12)}
    images = [planned(i) for i in range(12)]
    assert find([images[i] for i in order], prints) == find(images, prints)


def test_many_images_are_compared_with_few_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """20,000 images, every tenth the near-duplicate of the one before it."""
    draw, prints, images = random.Random(0), {}, [planned(i) for i in range(20_000)]
    for i, image in enumerate(images):
        bits = prints[images[i - 1].digest].bits ^ 0b1001 if i % 10 == 9 else draw.getrandbits(64)
        prints[image.digest] = Fingerprint(bits, GREY)
    compared, is_near = 0, Fingerprint.is_near

    def count(one: Fingerprint, other: Fingerprint) -> bool:
        nonlocal compared
        compared += 1
        return is_near(one, other)

    monkeypatch.setattr(near_duplicates.Fingerprint, "is_near", count)
    started_s = time.monotonic()
    found = find(images, prints)
    assert len(found) == 2_000
    assert compared < 3 * len(images)
    assert time.monotonic() - started_s < 20


@pytest.mark.data
def test_among_real_photographs_one_pair_is_found_and_it_is_one(real_data: Path) -> None:
    folder = real_data / "landmarks" / "images" / "statue_of_liberty"
    paths = sorted(folder.glob("*.jpg"))
    prints = {f"{path}": fingerprint(Image.open(path).convert("RGB")) for path in paths}
    images = [PlannedImage(str(path), path, "JPEG", 1, 1, 1) for path in paths]
    pairs = {one.path.stem: other.path.stem for one, other in find(images, prints).items()}
    assert pairs == {"7d11abec1f": "3dcd77e869"}
