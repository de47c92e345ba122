"""From encoded bytes to the pixels that a network sees: admission, decoding, resizing, normalisation.

In: the bytes or the path of an image. Out: its header, upright RGB pixels, or a normalised tensor, or
:class:`InvalidImage` with the reason. Importing this loads no tensor library.

The resize recipe is that of the public retrieval code (cirtorch): decode in full, then Pillow's
``thumbnail`` with a Lanczos filter and ``reducing_gap`` 2, to a longest side, never upscaled.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.digest import JsonValue, float_text
from shared.exif import turn_of
from shared.image_headers import ImageHeader, ImageTooLarge, InvalidImage, read_header
from shared.views import WHOLE, ImageView, show

if TYPE_CHECKING:
    import torch

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "ImageHeader",
    "ImageLimits",
    "ImageTooLarge",
    "InvalidImage",
    "Pixels",
    "Preprocessing",
    "admit",
    "decode",
    "load_pixels",
    "normalise",
    "read_file",
    "resize",
]

Pixels: TypeAlias = NDArray[np.uint8]
Triple: TypeAlias = tuple[float, float, float]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)

PIXELS_CEILING = 89_478_485
"""Where Pillow sounds its own alarm; no limit may be set above it."""
FORMATS = ("JPEG", "PNG", "WEBP")

_STRIP_PIXELS = 2**20


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What is admitted. Raises ValueError for a format or a pixel count that cannot be supported."""

    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
    formats: tuple[str, ...] = FORMATS

    def __post_init__(self) -> None:
        unknown = sorted(set(self.formats) - set(FORMATS))
        if unknown or not self.formats:
            raise ValueError(f"Image formats {unknown or 'none'} cannot be served; choose from {FORMATS}.")
        if self.max_bytes < 1 or not 1 <= self.max_pixels <= PIXELS_CEILING:
            raise ValueError(
                f"Image limits must be at least 1 byte and 1 to {PIXELS_CEILING:,} pixels, "
                f"got {self.max_bytes:,} and {self.max_pixels:,}."
            )


_CEILING = ImageLimits(max_bytes=2**30, max_pixels=PIXELS_CEILING)


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How pixels are made from an image; part of a teacher's revision.

    ``apply_exif`` turns photographs upright by their EXIF orientation. Switch it off to be exactly
    compatible with cirtorch, which ignores it. A ``view`` that gives the size takes the place of
    ``longest_side_px``.
    """

    longest_side_px: int
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    apply_exif: bool = True
    view: ImageView = WHOLE

    def __post_init__(self) -> None:
        if self.longest_side_px < 1:
            raise ValueError(f"longest_side_px must be at least 1, got {self.longest_side_px}.")

    def description(self) -> dict[str, JsonValue]:
        """Plain JSON that names every choice, floats as text.

        The whole image is not spoken of: it is what was meant before there were views.
        """
        return {
            "longest_side_px": self.longest_side_px,
            "resize": "thumbnail lanczos reducing_gap=2 never-upscaled",
            "transparency": "on white",
            "apply_exif": self.apply_exif,
            "mean": [float_text(value) for value in self.mean],
            "std": [float_text(value) for value in self.std],
            **({} if self.view == WHOLE else {"view": self.view.description()}),
        }


def admit(data: bytes, limits: ImageLimits) -> ImageHeader:
    """Check an encoded image by its header; pixels are never decoded.

    A file that is cut after its header passes here and fails in :func:`decode`.

    Raises:
        ImageTooLarge: more bytes or pixels than the limits.
        InvalidImage: empty, not an image, animated, cut within its header, or a format not admitted.
    """
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(f"The image has {len(data):,} bytes; at most {limits.max_bytes:,} are accepted.")
    header = read_header(data)
    if header.format not in limits.formats:
        raise InvalidImage(f"{header.format} is not accepted; send {', '.join(limits.formats)}.")
    if header.pixels > limits.max_pixels:
        raise ImageTooLarge(
            f"The image claims {header.width:,} x {header.height:,} = {header.pixels:,} pixels; "
            f"at most {limits.max_pixels:,} are accepted."
        )
    return header


def read_file(path: Path, limits: ImageLimits = _CEILING) -> bytes:
    """The bytes of an image file; one that is too large is refused before it is read.

    Raises:
        ImageTooLarge: more bytes than the limit; the message names the file.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    if size > limits.max_bytes:
        raise ImageTooLarge(f"{path}: {size:,} bytes; at most {limits.max_bytes:,} are accepted.")
    return path.read_bytes()


def decode(source: bytes | Path | Image.Image, *, apply_exif: bool = True) -> Image.Image:
    """A new upright 8-bit RGB image without metadata.

    Transparent pixels are laid on white; 16-bit grey is scaled to 8 bits, as Pillow does for 16-bit colour;
    CMYK is converted without a colour profile.

    Raises:
        InvalidImage: as :func:`admit` up to Pillow's own ceiling of pixels; also truncated or damaged.
            For a path, the message names the file.
        OSError: the path cannot be read.
    """
    if isinstance(source, Image.Image):
        return _upright(_rgb(source), turn_of(source) if apply_exif else None)
    if isinstance(source, bytes):
        return _decode_bytes(source, apply_exif)
    data = read_file(source)
    try:
        return _decode_bytes(data, apply_exif)
    except InvalidImage as error:
        raise type(error)(f"{source}: {error}") from error


def resize(image: Image.Image, longest_side_px: float) -> Image.Image:
    """Shrink to a longest side in pixels, fractions cut off; a small enough image is returned as it is."""
    if max(image.size) <= longest_side_px:
        return image
    smaller = image.copy()
    _shrink(smaller, longest_side_px)
    return smaller


def load_pixels(source: bytes | Path | Image.Image, preprocessing: Preprocessing) -> Pixels:
    """Decode and resize: uint8 [H, W, 3], longest side at most ``preprocessing.longest_side_px``, or as its
    view has it.

    Raises:
        InvalidImage, OSError: as :func:`decode`.
    """
    image = decode(source, apply_exif=preprocessing.apply_exif)
    if preprocessing.view != WHOLE:
        return np.array(show(image, preprocessing.longest_side_px, preprocessing.view))
    _shrink(image, preprocessing.longest_side_px)
    return np.array(image)


def normalise(pixels: "torch.Tensor", preprocessing: Preprocessing) -> "torch.Tensor":
    """uint8 [B, H, W, 3] -> float32 [B, 3, H, W] on the same device, (x / 255 - mean) / std per channel."""
    import torch

    mean = torch.tensor(preprocessing.mean, device=pixels.device).view(1, 3, 1, 1)
    std = torch.tensor(preprocessing.std, device=pixels.device).view(1, 3, 1, 1)
    channels_first = pixels.permute(0, 3, 1, 2).contiguous()
    return channels_first.to(torch.float32).div_(255.0).sub_(mean).div_(std)


def _decode_bytes(data: bytes, apply_exif: bool) -> Image.Image:
    header = admit(data, _CEILING)
    try:
        with Image.open(io.BytesIO(data), formats=(header.format,)) as opened:
            if opened.size != (header.width, header.height):
                raise InvalidImage(f"its parts disagree on its size, {opened.size}")
            opened.load()
            turn, rgb = turn_of(opened) if apply_exif else None, _rgb(opened)
    except MemoryError:
        raise
    # Pillow's readers raise a dozen types on damaged files, struct.error and IndexError among them.
    except Exception as error:
        raise InvalidImage(f"The {header.format} image is truncated or damaged: {error}.") from error
    del opened  # its pixels are the size of ours: give them back before another copy is made
    return _upright(rgb, turn)


def _shrink(image: Image.Image, longest_side_px: float) -> None:
    """In place. ``reducing_gap`` is Pillow's default, written out because descriptors depend on it."""
    image.thumbnail((longest_side_px, longest_side_px), Image.Resampling.LANCZOS, reducing_gap=2.0)


def _upright(rgb: Image.Image, turn: Image.Transpose | None) -> Image.Image:
    upright = rgb if turn is None else rgb.transpose(turn)
    # Without its metadata, or a second pass would turn it once more.
    upright.info = {}
    return upright


def _rgb(image: Image.Image) -> Image.Image:
    """A new 8-bit RGB image. What takes several steps is done in strips: each step would be another copy."""
    if not (_is_deep(image) or image.has_transparency_data):
        return image.convert("RGB")
    rgb = Image.new("RGB", image.size)
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        rgb.paste(_deep_as_rgb(strip) if _is_deep(strip) else _on_white(strip), (0, top))
    return rgb


def _is_deep(image: Image.Image) -> bool:
    return image.mode == "I" or image.mode.startswith("I;16")


def _deep_as_rgb(image: Image.Image) -> Image.Image:
    # Pillow's own conversion clips at 255 instead of scaling.
    grey = np.asarray(image).clip(0, 65535) >> 8
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    layers = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, layers).convert("RGB")
