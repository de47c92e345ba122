"""Many images: in order, the same bits each time, by the public multi-scale formula, in bounded memory."""

import io
import math
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from shared import extraction
from shared.batch_norm import calibrate_batch_norm
from shared.extraction import describe, describe_pixels, pick_device
from shared.images import ImageTooLarge, InvalidImage, Preprocessing, load_pixels, normalise
from shared.network import DescriptorNet, NetworkSpec, build_network, load_imagenet_weights
from shared.vectors import check_rows

MULTI_SCALE = (1.0, 1 / math.sqrt(2), 0.5)
SIZES = [(64, 48), (48, 64), (64, 64), (64, 48), (10, 3), (48, 64), (64, 48), (1, 1), (64, 48), (200, 150)]


def photograph(width: int, height: int, seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def small_network(pooling: str = "gem", whitening: bool = False) -> DescriptorNet:
    """Random, but with statistics of photographs, so that descriptors differ."""
    network = build_network(NetworkSpec("mobilenet_v2-320x0.1", pooling, whitening), seed=3)
    pixels = torch.stack([torch.from_numpy(np.array(photograph(64, 64, seed))) for seed in range(16)])
    calibrate_batch_norm(network, [normalise(pixels, Preprocessing(64))])
    return network.eval()


@pytest.fixture(scope="module")
def network() -> DescriptorNet:
    return small_network()


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    return [photograph(width, height, seed) for seed, (width, height) in enumerate(SIZES)]


def cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    a, b = a.astype(np.float64), b.astype(np.float64)
    product: NDArray[np.float64] = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return product


# Order, bits, units


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_rows_come_in_the_order_of_the_images_whatever_their_shapes(
    network: DescriptorNet, photographs: list[Image.Image], batch_size: int
) -> None:
    rows = describe(network, photographs, 64, batch_size=batch_size)
    assert (rows.shape, rows.dtype) == ((len(SIZES), network.dim), np.float32)
    one_by_one = np.concatenate([describe(network, [image], 64) for image in photographs])
    np.testing.assert_allclose(rows, one_by_one, atol=5e-5)  # kernels differ between batch sizes
    assert np.abs(one_by_one[0] - one_by_one[3]).max() > 1e-3  # so that a swap would be seen


def test_two_calls_give_the_same_bits(network: DescriptorNet, photographs: list[Image.Image]) -> None:
    first = describe(network, photographs, 64, scales=MULTI_SCALE, batch_size=3)
    for _ in range(3):
        assert (describe(network, photographs, 64, scales=MULTI_SCALE, batch_size=3) == first).all()


def test_paths_bytes_and_open_images_give_the_same_rows(
    network: DescriptorNet, photographs: list[Image.Image], tmp_path: Path
) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(len(photographs))]
    for path, image in zip(paths, photographs, strict=True):
        image.save(path)
    expected = describe(network, photographs, 64)
    assert (describe(network, paths, 64) == expected).all()
    assert (describe(network, [str(path) for path in paths], 64) == expected).all()
    assert (describe(network, [path.read_bytes() for path in paths], 64) == expected).all()


@pytest.mark.parametrize("pooling", ["gem", "mac", "spoc", "rmac"])
@pytest.mark.parametrize("scales", [(1.0,), MULTI_SCALE])
def test_every_row_passes_the_receivers_check(
    photographs: list[Image.Image], pooling: str, scales: tuple[float, ...]
) -> None:
    network = small_network(pooling)
    check_rows(describe(network, photographs, 64, scales=scales), n=len(SIZES), dim=network.dim)


def test_even_an_untrained_network_with_tiny_features_gives_unit_rows(photographs: list[Image.Image]) -> None:
    untrained = build_network(NetworkSpec("mobilenet_v2-320x0.1"), seed=0).eval()
    check_rows(describe(untrained, photographs, 64), n=len(SIZES), dim=untrained.dim)


def test_no_images_give_no_rows(network: DescriptorNet) -> None:
    assert describe(network, [], 64).shape == (0, network.dim)


def test_images_are_shrunk_to_the_longest_side_given_here(network: DescriptorNet) -> None:
    large = photograph(200, 150, 1)
    chosen = Preprocessing(999, mean=(0.5, 0.5, 0.5))
    pixels = torch.from_numpy(load_pixels(large, Preprocessing(64)))[None]
    expected = describe_pixels(network, pixels, chosen).numpy()
    assert (describe(network, [large], 64, preprocessing=chosen) == expected).all()


# Several scales


def reference_multi_scale(network: DescriptorNet, image: Image.Image, power: float) -> NDArray[np.float64]:
    """The published formula, one scale after the other, combined in float64."""
    images = normalise(torch.from_numpy(np.array(image))[None], Preprocessing(10_000))
    total = np.zeros(network.dim)
    for scale in MULTI_SCALE:
        resized = functional.interpolate(images, scale_factor=scale, mode="bilinear", align_corners=False)
        with torch.no_grad():
            total += network(resized)[0].double().numpy() ** power
    combined = (total / len(MULTI_SCALE)) ** (1 / power)
    normalised: NDArray[np.float64] = combined / np.linalg.norm(combined)
    return normalised


@pytest.mark.parametrize("p", [3.0, 2.2])
def test_scales_of_gem_are_combined_by_a_mean_with_the_networks_exponent(p: float) -> None:
    network = small_network()
    with torch.no_grad():
        network.pool.p.fill_(p)  # type: ignore[operator,union-attr]
    image = photograph(101, 67, 4)
    row = describe(network, [image], 200, scales=MULTI_SCALE)
    assert 1 - cosines(row, reference_multi_scale(network, image, p)[None])[0] < 1e-9
    assert 1 - cosines(row, reference_multi_scale(network, image, 1.0)[None])[0] > 1e-8


@pytest.mark.parametrize(("pooling", "whitening"), [("mac", False), ("rmac", False), ("gem", True)])
def test_scales_of_other_networks_are_combined_by_a_plain_mean(pooling: str, whitening: bool) -> None:
    network = small_network(pooling, whitening)
    image = photograph(96, 64, 4)
    row = describe(network, [image], 200, scales=MULTI_SCALE)
    np.testing.assert_allclose(row[0], reference_multi_scale(network, image, 1.0), atol=1e-5)


def test_a_single_other_scale_has_no_mean(network: DescriptorNet) -> None:
    image = photograph(96, 64, 4)
    images = normalise(torch.from_numpy(np.array(image))[None], Preprocessing(96))
    halved = functional.interpolate(images, scale_factor=0.5, mode="bilinear", align_corners=False)
    with torch.no_grad():
        expected = network(halved)
    np.testing.assert_allclose(describe(network, [image], 96, scales=(0.5,)), expected.numpy(), atol=5e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 3)])
def test_an_image_that_a_scale_would_shrink_to_nothing_keeps_one_pixel(
    network: DescriptorNet, size: tuple[int, int]
) -> None:
    rows = describe(network, [photograph(*size, 0)], 362, scales=(1.0, 0.5, 0.01))
    check_rows(rows, n=1, dim=network.dim)


@pytest.mark.parametrize("scales", [(), (0.0,), (-1.0, 1.0), (math.nan,), (math.inf,)])
def test_scales_that_make_no_sense_are_refused(network: DescriptorNet, scales: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="Scales must be positive numbers"):
        describe(network, [photograph(8, 8, 0)], 64, scales=scales)


# Boxes


def test_a_box_is_cut_out_first_and_shrunk_by_the_factor_of_the_whole(network: DescriptorNet) -> None:
    whole = photograph(400, 300, 6)
    part = whole.crop((100, 50, 300, 200))
    part.thumbnail((100, 100), Image.Resampling.LANCZOS)  # 200 * 200 / 400
    expected = describe(network, [part], 1000)
    assert (describe(network, [whole], 200, boxes=[(100, 50, 300, 200)]) == expected).all()


def test_a_box_of_a_small_image_is_not_shrunk(network: DescriptorNet) -> None:
    whole = photograph(64, 48, 6)
    expected = describe(network, [whole.crop((8, 8, 40, 40))], 1000)
    assert (describe(network, [whole], 362, boxes=[(8.2, 7.9, 40.3, 39.6)]) == expected).all()


def test_boxes_may_be_given_for_some_images_only(network: DescriptorNet) -> None:
    images = [photograph(64, 48, 1), photograph(64, 48, 2)]
    mixed = describe(network, images, 64, boxes=[None, (0, 0, 64, 48)])
    np.testing.assert_allclose(mixed, describe(network, images, 64), atol=5e-5)


def test_a_box_of_one_pixel_of_a_large_image_is_described(network: DescriptorNet) -> None:
    rows = describe(network, [photograph(500, 400, 0)], 100, boxes=[(5, 5, 6, 6)])
    check_rows(rows, n=1, dim=network.dim)


def test_an_empty_box_is_refused_with_the_image(network: DescriptorNet) -> None:
    images = [photograph(64, 48, 1), photograph(64, 48, 2)]
    with pytest.raises(InvalidImage, match=r"Image 1: The box \(5, 5, 5, 20\) holds no pixels of .* 64 x 48"):
        describe(network, images, 64, boxes=[None, (5, 5, 5, 20)])


def test_boxes_may_be_arrays_lists_or_tuples(network: DescriptorNet) -> None:
    images = [photograph(64, 48, 1), photograph(64, 48, 2)]
    expected = describe(network, images, 64, boxes=[(8, 7, 40, 39), (1, 2, 30, 31)])
    array = np.array([(8, 7, 40, 39), (1, 2, 30, 31)])
    for boxes in (array, array.astype(np.float32), list(array), array.tolist()):
        assert (describe(network, images, 64, boxes=boxes) == expected).all()


@pytest.mark.parametrize("box", [(1, 2, 3), (1, 2, 3, math.nan), "1234", ("1", "2", "3", "4")])
def test_a_box_that_is_not_four_numbers_is_refused_with_the_image(network: DescriptorNet, box: Any) -> None:
    with pytest.raises(ValueError, match="Image 1: a box is left, top, right, bottom"):
        describe(network, [photograph(64, 48, 1)] * 2, 64, boxes=[None, box])


def test_boxes_must_match_the_images(network: DescriptorNet) -> None:
    with pytest.raises(ValueError, match="2 boxes were given for 1 images"):
        describe(network, [photograph(8, 8, 0)], 64, boxes=[None, None])


# Batches and memory


def batch_sizes(network: DescriptorNet, images: Sequence[Image.Image], batch_size: int) -> list[int]:
    sizes: list[int] = []
    describe(network, images, 64, batch_size=batch_size, on_progress=sizes.append)
    return sizes


def test_images_of_equal_shape_share_a_batch_and_progress_adds_up(
    network: DescriptorNet, photographs: list[Image.Image]
) -> None:
    sizes = batch_sizes(network, photographs, 32)
    assert sizes == [5, 2, 1, 1, 1]  # 64x48 five times (200x150 shrinks to it), 48x64 twice, three more
    assert batch_sizes(network, photographs, 2) == [2, 2, 2, 1, 1, 1, 1]


def test_large_images_go_in_smaller_batches(network: DescriptorNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "MAX_BATCH_PIXELS", 3 * 64 * 48)
    images = [photograph(64, 48, seed) for seed in range(7)]
    assert batch_sizes(network, images, 32) == [3, 3, 1]
    monkeypatch.setattr(extraction, "MAX_BATCH_PIXELS", 1)
    assert batch_sizes(network, images, 32) == [1] * 7


def test_when_the_window_is_full_the_largest_group_goes_first(
    network: DescriptorNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "MAX_WAITING_BYTES", 3 * 64 * 48 * 3)
    images = [photograph(64, side, seed) for seed, side in enumerate((48, 20, 48, 20, 48, 20))]
    # After the fifth image five wait: the three of 48 rows go, and the rest at the end.
    assert batch_sizes(network, images, 32) == [3, 3]
    rows = describe(network, images, 64)
    np.testing.assert_allclose(rows, describe(network, images, 64, batch_size=1), atol=5e-5)


def test_the_window_bounds_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes that never meet again: without a window all would wait until the end."""
    monkeypatch.setattr(extraction, "MAX_WAITING_BYTES", 10_000)
    waiting = 0
    most = 0

    def decoded() -> object:
        nonlocal waiting, most
        for index in range(100):
            pixels = np.zeros((10, 10 + index, 3), dtype=np.uint8)
            waiting += pixels.nbytes
            most = max(most, waiting)
            yield index, pixels

    seen: list[int] = []
    for indices, batch in extraction._batches(decoded(), 32):  # type: ignore[arg-type]
        waiting -= batch.nbytes
        seen += indices
    assert sorted(seen) == list(range(100))
    assert most <= 10_000 + 10 * 109 * 3


class Watched(Sequence[Image.Image]):
    """Counts how far ahead images are asked for."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.furthest = 0

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> Image.Image:  # type: ignore[override]
        if index >= self.n:
            raise IndexError
        self.furthest = max(self.furthest, index)
        return photograph(8, 8, index)


def test_decoding_runs_only_a_little_ahead_of_the_network(network: DescriptorNet) -> None:
    images = Watched(200)
    leads: list[int] = []
    described = 0

    def on_progress(n: int) -> None:
        nonlocal described
        described += n
        leads.append(images.furthest - described)

    describe(network, images, 64, batch_size=1, on_progress=on_progress)
    assert described == 200
    assert 0 < max(leads) <= 4 * min(4, os.cpu_count() or 1)


# Failures and modes


def test_a_file_that_is_no_image_is_named(network: DescriptorNet, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.jpg"
    photograph(8, 8, 0).save(good)
    bad.write_bytes(b"not a photograph")
    with pytest.raises(InvalidImage, match=r"^/.*bad\.jpg: Not an image"):
        describe(network, [good, bad, good], 64)


def test_bytes_that_are_no_image_are_named_by_their_place_and_keep_their_kind(network: DescriptorNet) -> None:
    buffer = io.BytesIO()
    photograph(8, 8, 0).save(buffer, "PNG")
    bomb = bytearray(buffer.getvalue())
    bomb[16:24] = (50_000).to_bytes(4, "big") * 2
    with pytest.raises(ImageTooLarge, match=r"^Image 2: The image claims 50,000 x 50,000"):
        describe(network, [buffer.getvalue(), buffer.getvalue(), bytes(bomb)], 64)


def test_a_failure_leaves_no_thread_and_restores_the_mode(tmp_path: Path) -> None:
    network = small_network().train()
    with pytest.raises(FileNotFoundError):
        describe(network, [tmp_path / f"missing{index}.jpg" for index in range(50)], 64)
    assert network.training
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_a_network_in_training_is_described_in_evaluation_and_returned_to_training() -> None:
    network = small_network()
    image = photograph(64, 48, 0)
    expected = describe(network, [image], 64)
    network.train()
    statistics = network.trunk[0][1].running_mean.clone()  # type: ignore[index,union-attr,operator]
    assert (describe(network, [image], 64) == expected).all()
    assert network.training
    assert torch.equal(network.trunk[0][1].running_mean, statistics)  # type: ignore[index,union-attr,arg-type]


def test_pixels_are_refused_by_a_network_in_training() -> None:
    network = small_network().train()
    with pytest.raises(ValueError, match=r"call network\.eval\(\) before"):
        describe_pixels(network, torch.zeros(1, 8, 8, 3, dtype=torch.uint8), Preprocessing(8))


def test_descriptors_carry_no_graph(network: DescriptorNet) -> None:
    rows = describe_pixels(network, torch.zeros(2, 8, 8, 3, dtype=torch.uint8), Preprocessing(8))
    assert not rows.requires_grad


def test_a_batch_of_no_images_is_refused(network: DescriptorNet) -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        describe(network, [], 64, batch_size=0)


# Devices


def test_auto_is_a_gpu_where_there_is_one() -> None:
    assert pick_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "reason"), [("gpu", "Unknown device 'gpu'"), ("cuda:99", "There is no device 'cuda:99' here")]
)
def test_a_device_that_is_not_there_is_refused(network: DescriptorNet, name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        describe(network, [], 64, device=name)


# Real photographs


@pytest.mark.data
def test_real_photographs_of_one_landmark_are_nearer_than_those_of_another(real_data: Path) -> None:
    network = build_network(NetworkSpec("mobilenet_v2"))
    load_imagenet_weights(network, real_data / "weights" / "mobilenet_v2-imagenet.safetensors")
    folders = [real_data / "landmarks" / "images" / name for name in ("lotus_temple", "eiffel_tower")]
    paths = [path for folder in folders for path in sorted(folder.glob("*.jpg"))[:8]]
    rows = describe(network, paths, 128, batch_size=8)
    similarities = rows @ rows.T
    same = (similarities[:8, :8].sum() + similarities[8:, 8:].sum() - 16) / (2 * 8 * 7)
    assert same > similarities[:8, 8:].mean() + 0.03
