"""Descriptors of many images, at one scale or several, in batches of equal shape.

In: a network and images (paths, bytes or PIL images), or a batch of pixels. Out: float32 rows of unit length,
in the order of the input.

Multi-scale descriptors follow the public retrieval code: the normalised tensor is resized bilinearly by each
factor, and the descriptors of the scales are combined by a generalised mean (Radenovic et al. 2018).
"""

import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from shared.batch_norm import modes_kept
from shared.images import InvalidImage, Pixels, Preprocessing, decode, load_pixels, normalise, resize
from shared.network import DescriptorNet
from shared.pooling import GeM
from shared.vectors import Float32Rows
from shared.views import WHOLE, show

ImageSource: TypeAlias = str | os.PathLike[str] | bytes | Image.Image
Box: TypeAlias = Sequence[float] | NDArray[np.number]
"""left, top, right, bottom in pixels of the upright image: any four numbers in a row."""
Corners: TypeAlias = tuple[float, float, float, float]
"""A checked box."""

MAX_WAITING_BYTES = 256_000_000
"""Decoded pixels that wait for others of their shape; then the largest group goes as it is."""
MAX_BATCH_PIXELS = 8_000_000
"""Pixels in one forward pass: 61 images of 362 x 362, or 10 of 1024 x 768."""


def describe(
    network: DescriptorNet,
    images: Sequence[ImageSource],
    longest_side_px: int,
    scales: Sequence[float] = (1.0,),
    boxes: Sequence[Box | None] | NDArray[np.number] | None = None,
    *,
    device: str = "auto",
    batch_size: int = 32,
    preprocessing: Preprocessing | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Float32Rows:
    """Descriptors of all images: float32 [n, dim], row i of unit length for ``images[i]``.

    Images are decoded by a few threads, ahead of the network, in bounded memory. Two calls with the same
    arguments give the same bits on the same machine.

    Args:
        network: moved to ``device`` and left there; run in evaluation mode, its own mode restored.
        images: paths (text is a path too), encoded bytes or PIL images.
        longest_side_px: images are shrunk to it, never enlarged.
        scales: factors on the shrunk image; several are combined by a generalised mean.
        boxes: per image, the part to describe, or None for the whole; or an array [n, 4]. The part is shrunk
            by the factor that the whole image would have been shrunk by.
        device: ``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ``cuda:1``.
        batch_size: most images in one forward pass; large images go in smaller batches.
        preprocessing: normalisation, EXIF handling, view; its ``longest_side_px`` gives way to the argument.
        on_progress: called after each batch with the number of images in it.

    Raises:
        InvalidImage: an image cannot be decoded; the message names its path or index.
        OSError: a path cannot be read.
        ValueError: scales, boxes, batch size or device make no sense.
    """
    parts = [None] * len(images) if boxes is None else [_corners(i, box) for i, box in enumerate(boxes)]
    if len(parts) != len(images):
        raise ValueError(f"{len(parts)} boxes were given for {len(images)} images.")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    chosen = replace(preprocessing or Preprocessing(longest_side_px), longest_side_px=longest_side_px)
    network.to(pick_device(device))
    rows = np.empty((len(images), network.dim), dtype=np.float32)
    with modes_kept(network):
        network.eval()
        for indices, pixels in _batches(_decoded(images, parts, chosen), batch_size):
            rows[indices] = describe_pixels(network, torch.from_numpy(pixels), chosen, scales).cpu().numpy()
            if on_progress is not None:
                on_progress(len(indices))
    return rows


def describe_pixels(
    network: DescriptorNet, pixels: Tensor, preprocessing: Preprocessing, scales: Sequence[float] = (1.0,)
) -> Tensor:
    """One batch, without a graph: uint8 [B, H, W, 3] -> float32 [B, dim] on the network's device.

    Rows end with an exact L2 normalisation: the network's own x / (||x|| + 1e-6) would leave the rows of an
    untrained network, whose features may be tiny, short of the unit length that receivers check.

    Raises:
        ValueError: the network is in training mode, or a scale is not a positive number.
    """
    if network.training:
        raise ValueError("The network is in training mode; call network.eval() before describing images.")
    if not scales or not all(math.isfinite(scale) and scale > 0 for scale in scales):
        raise ValueError(f"Scales must be positive numbers, at least one; got {tuple(scales)}.")
    device = next(network.parameters()).device
    with torch.inference_mode(), _exact_float32(device):
        images = normalise(pixels.to(device, non_blocking=True), preprocessing)
        power = _combining_power(network, scales)
        total = sum(
            (network(_scaled(images, scale)).pow(power) for scale in scales), torch.zeros((), device=device)
        )
        return functional.normalize((total / len(scales)).pow(1.0 / power), dim=-1)


def pick_device(name: str = "auto") -> torch.device:
    """``auto`` is the first GPU, or the CPU where there is none.

    Raises:
        ValueError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"Unknown device {name!r}: use auto, cpu, cuda or cuda:1.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"There is no device {name!r} here: {torch.cuda.device_count()} GPUs are visible.")
    return device


def _combining_power(network: DescriptorNet, scales: Sequence[float]) -> float:
    """Exponent of the mean over scales: the network's p for plain GeM at several scales, else 1."""
    if len(scales) > 1 and isinstance(network.pool, GeM) and network.whiten is None:
        return network.pool.p.item()
    return 1.0


def _scaled(images: Tensor, scale: float) -> Tensor:
    """Bilinear, by factor and without antialiasing, as the public code does; no side falls below 1 pixel."""
    if scale == 1.0:
        return images
    height, width = (math.floor(side * scale) for side in images.shape[-2:])
    if min(height, width) < 1:
        size = (max(1, height), max(1, width))
        return functional.interpolate(images, size=size, mode="bilinear", align_corners=False)
    return functional.interpolate(images, scale_factor=scale, mode="bilinear", align_corners=False)


def _exact_float32(device: torch.device) -> AbstractContextManager[None]:
    """On a GPU: no TF32 (ten bits of mantissa) and no algorithm picked by timing, so that answers repeat."""
    if device.type != "cuda":
        return nullcontext()
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    return flags


def _corners(index: int, box: Box | None) -> Corners | None:
    """Four finite numbers, as plain Python ones. Raises ValueError, naming the image by its index."""
    if box is None:
        return None
    numbers = np.asarray(box)
    if numbers.shape != (4,) or numbers.dtype.kind not in "iuf" or not np.isfinite(numbers).all():
        raise ValueError(f"Image {index}: a box is left, top, right, bottom in pixels; got {box!r}.")
    left, top, right, bottom = numbers.tolist()
    return left, top, right, bottom


def load_part(source: ImageSource, box: Corners | None, preprocessing: Preprocessing) -> Pixels:
    """What the network is shown of an image: uint8 [H, W, 3], a box shrunk by its whole image's factor.

    Raises:
        InvalidImage, OSError: the image cannot be read, or the box holds no pixels of it.
    """
    if not isinstance(source, bytes | Image.Image):
        source = Path(source)
    if box is None:
        return load_pixels(source, preprocessing)
    whole = decode(source, apply_exif=preprocessing.apply_exif)
    part = whole.crop(box)  # Pillow rounds fractions to the nearest pixel
    if min(part.size) < 1:
        raise InvalidImage(f"The box {box} holds no pixels of an image of {whole.width} x {whole.height}.")
    if preprocessing.view != WHOLE:
        return np.array(show(part, preprocessing.longest_side_px, preprocessing.view, whole.size))
    longest_side_px = preprocessing.longest_side_px * max(part.size) / max(whole.size)
    return np.array(resize(part, max(1.0, longest_side_px)))


def _decoded(
    images: Sequence[ImageSource], boxes: Sequence[Corners | None], preprocessing: Preprocessing
) -> Iterator[tuple[int, Pixels]]:
    """(index, pixels) in order; a few images are decoded ahead while the consumer computes."""
    workers = min(4, os.cpu_count() or 1)
    ahead: deque[Future[Pixels]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        started = 0
        for index, source in enumerate(images):
            while started < len(images) and len(ahead) < 4 * workers:
                ahead.append(pool.submit(load_part, images[started], boxes[started], preprocessing))
                started += 1
            try:
                yield index, ahead.popleft().result()
            except InvalidImage as error:
                if not isinstance(source, bytes | Image.Image):
                    raise  # it names the file
                raise type(error)(f"Image {index}: {error}") from error


def _batches(decoded: Iterator[tuple[int, Pixels]], batch_size: int) -> Iterator[tuple[list[int], Pixels]]:
    """Groups of equal shape, stacked: (indices, uint8 [B, H, W, 3]).

    What is grouped depends on the order of the images alone, never on the timing of threads.
    """
    waiting: dict[tuple[int, ...], list[tuple[int, Pixels]]] = {}
    waiting_bytes = 0
    for index, pixels in decoded:
        group = waiting.setdefault(pixels.shape, [])
        group.append((index, pixels))
        waiting_bytes += pixels.nbytes
        full = len(group) >= min(batch_size, max(1, MAX_BATCH_PIXELS // (pixels.shape[0] * pixels.shape[1])))
        if not full and waiting_bytes <= MAX_WAITING_BYTES:
            continue
        # The largest group holds at least what has just come, so the bytes that wait do not grow further.
        shape = (
            pixels.shape if full else max(waiting, key=lambda shape: len(waiting[shape]) * math.prod(shape))
        )
        batch = waiting.pop(shape)
        waiting_bytes -= len(batch) * math.prod(shape)
        yield _stacked(batch)
    for batch in waiting.values():
        yield _stacked(batch)


def _stacked(batch: list[tuple[int, Pixels]]) -> tuple[list[int], Pixels]:
    return [index for index, _ in batch], np.stack([pixels for _, pixels in batch])
