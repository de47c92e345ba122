"""Describing photographs from the disk, beside the bare network on the same pixels.

In: nothing. Out: a table on standard output. The bare network is given what the extraction gives it, decoded,
shrunk and stacked by shape beforehand, in the same batches; both sides run in turns, and each is counted by
its best turn. Photographs are landscape and portrait, of several aspect ratios, as in the public data sets.

    python -m benchmarks.extraction
"""

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from shared.allocator import keep_pages
from shared.extraction import MAX_BATCH_PIXELS, describe, describe_pixels, pick_device
from shared.images import Preprocessing, decode, load_pixels, resize
from shared.network import DescriptorNet, NetworkSpec, build_network

SHAPES = ((1024, 768), (768, 1024), (1024, 683), (1000, 1000))
BATCH = 32
TARGET = 0.9
TURNS = 3


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    network: str
    longest_side_px: int
    images: int
    scales: tuple[float, ...] = (1.0,)


CASES = (
    Case("resnet101-gem", 362, 8),
    Case("resnet34-gem", 362, 24),
    Case("mobilenet_v2-320", 362, 48),
    Case("resnet34-gem", 362, 16, (1.0, 2**-0.5, 0.5)),
)
GPU_CASES = (Case("resnet101-gem", 1024, 512), Case("resnet34-gem", 1024, 512))


def run() -> None:
    """Print the table, with a GPU's cases where there is one."""
    keep_pages()  # as the commands do
    device = pick_device("auto")
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{os.cpu_count()} cores"
    print(
        f"{platform.platform()}, {where}, torch {torch.__version__}, load {os.getloadavg()[0]:.1f} before\n"
    )
    print(f"{'network':<20}{'px':>6}{'scales':>8}{'bare, images/s':>16}{'from disk':>12}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as folder:
        loaded_ms, resized_ms = _decoding_ms(_photographs(Path(folder), len(SHAPES)), CASES[0])
        for case in GPU_CASES if device.type == "cuda" else CASES:
            bare, whole = measure(case, _photographs(Path(folder), case.images), device)
            print(
                f"{case.network:<20}{case.longest_side_px:>6}{len(case.scales):>8}{bare:>16.2f}"
                f"{whole:>12.2f}{whole / bare:>8.2f}",
                flush=True,
            )
    print(f"\nA photograph takes {loaded_ms:.1f} ms of one core, of which {resized_ms:.1f} are its resize.")
    print(f"Asked: a ratio of {TARGET} or more. Load {os.getloadavg()[0]:.1f} after.")


def measure(case: Case, paths: Sequence[Path], device: torch.device) -> tuple[float, float]:
    """Images a second of the bare network, and of the extraction from files."""
    network = build_network(NetworkSpec.parse(case.network), seed=0).to(device).eval()
    preprocessing = Preprocessing(case.longest_side_px)
    batches = _batches(paths, preprocessing)

    def bare() -> None:
        for batch in batches:
            describe_pixels(network, batch, preprocessing, case.scales).cpu()

    def whole() -> None:
        describe(network, paths, case.longest_side_px, case.scales, batch_size=BATCH, device=str(device))

    _warm_up(network, preprocessing, batches, case.scales)
    turns = [(_seconds(bare), _seconds(whole)) for _ in range(TURNS)]
    best_bare_s, best_whole_s = (min(side) for side in zip(*turns, strict=True))
    return len(paths) / best_bare_s, len(paths) / best_whole_s


def _decoding_ms(paths: Sequence[Path], case: Case) -> tuple[float, float]:
    """Of one core for a photograph, and for its resize alone: the mean over shapes of the best turn."""
    preprocessing = Preprocessing(case.longest_side_px)
    loaded_s = [_shortest(partial(load_pixels, path, preprocessing)) for path in paths]
    wholes = [decode(path) for path in paths]
    resized_s = [_shortest(partial(resize, whole, case.longest_side_px)) for whole in wholes]
    return 1e3 * statistics.mean(loaded_s), 1e3 * statistics.mean(resized_s)


def _shortest(action: Callable[[], object]) -> float:
    return min(_seconds(action) for _ in range(TURNS))


def _warm_up(
    network: DescriptorNet,
    preprocessing: Preprocessing,
    batches: Sequence[torch.Tensor],
    scales: Sequence[float],
) -> None:
    for shape in {batch.shape: batch for batch in batches}.values():
        describe_pixels(network, shape, preprocessing, scales)


def _batches(paths: Sequence[Path], preprocessing: Preprocessing) -> list[torch.Tensor]:
    """As the extraction cuts them: by shape, at most so many images and so many pixels."""
    by_shape: dict[tuple[int, ...], list[np.ndarray]] = {}
    for path in paths:
        pixels = load_pixels(path, preprocessing)
        by_shape.setdefault(pixels.shape, []).append(pixels)
    batches = []
    for (height, width, _), group in by_shape.items():
        size = min(BATCH, max(1, MAX_BATCH_PIXELS // (height * width)))
        batches += [torch.from_numpy(np.stack(group[i : i + size])) for i in range(0, len(group), size)]
    return batches


def _photographs(folder: Path, count: int) -> list[Path]:
    """JPEG files of the size that Oxford's and Paris's have; made once."""
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        if not path.is_file():
            random = np.random.default_rng(number)
            rough = Image.fromarray(random.integers(0, 255, (48, 64, 3), dtype=np.uint8))
            rough.resize(SHAPES[number % len(SHAPES)], Image.Resampling.BICUBIC).save(path, quality=90)
    return paths


def _seconds(action: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    action()
    return time.perf_counter() - started_s


if __name__ == "__main__":
    run()
