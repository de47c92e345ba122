"""A sheet to draw a wall on, in metres.

In: shapes in metres, from the sheet's bottom left corner, y upwards. Out: an RGBA image, smooth at
its edges, transparent where nothing was drawn.
"""

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image, ImageDraw

from student_trainer.demo.scenery.palette import Colour, Rng

Point: TypeAlias = tuple[float, float]
Opening: TypeAlias = Literal["flat", "round", "pointed", "segment", "horseshoe"]
OPENINGS: tuple[Opening, ...] = ("flat", "round", "pointed", "segment", "horseshoe")

OVERSAMPLE = 2


class Wall:
    """Drawing in metres; what is drawn later covers what was drawn before."""

    def __init__(self, width_m: float, height_m: float, px_per_m: float, ground: Colour) -> None:
        self.width_m, self.height_m = width_m, height_m
        self._scale = px_per_m * OVERSAMPLE
        size = (max(2, math.ceil(width_m * px_per_m)), max(2, math.ceil(height_m * px_per_m)))
        # Transparent pixels carry the wall's colour, so that edges do not darken when resampled.
        self._image = Image.new("RGBA", (size[0] * OVERSAMPLE, size[1] * OVERSAMPLE), (*ground, 0))
        self._pen = ImageDraw.Draw(self._image)

    def polygon(self, points: Sequence[Point], fill: Colour, alpha: int = 255) -> None:
        """A filled polygon; ``alpha`` 0 cuts a hole."""
        self._pen.polygon([self._pixel(point) for point in points], fill=(*fill, alpha))

    def rectangle(self, x: float, y: float, width: float, height: float, fill: Colour) -> None:
        """A filled rectangle with its bottom left corner at (x, y)."""
        left, bottom = self._pixel((x, y))
        right, top = self._pixel((x + width, y + height))
        self._pen.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), fill=(*fill, 255))

    def ellipse(self, x: float, y: float, radius_x: float, radius_y: float, fill: Colour) -> None:
        """A filled ellipse around (x, y)."""
        left, bottom = self._pixel((x - radius_x, y - radius_y))
        right, top = self._pixel((x + radius_x, y + radius_y))
        self._pen.ellipse((left, top, right, bottom), fill=(*fill, 255))

    def line(self, points: Sequence[Point], width_m: float, fill: Colour) -> None:
        """A line; at least one drawn pixel wide."""
        width_px = max(1, round(width_m * self._scale))
        self._pen.line([self._pixel(point) for point in points], fill=(*fill, 255), width=width_px)

    def keep_inside(self, outline: Sequence[Point]) -> None:
        """Cut away everything outside ``outline``."""
        mask = Image.new("L", self._image.size, 0)
        ImageDraw.Draw(mask).polygon([self._pixel(point) for point in outline], fill=255)
        alpha = np.minimum(np.asarray(self._image.getchannel("A")), np.asarray(mask))
        self._image.putalpha(Image.fromarray(alpha))

    def finished(self, rng: Rng, weathering: float = 0.06) -> Image.Image:
        """The sheet, smoothed, with stains of the weather and a darker foot."""
        sheet = self._image.reduce(OVERSAMPLE)
        pixels = np.asarray(sheet).astype(np.float32)
        height, width = pixels.shape[:2]
        coarse = rng.normal(1.0, weathering, (5, 5)).astype(np.float32)
        stains = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
        grain = rng.normal(1.0, weathering / 2, (height, width)).astype(np.float32)
        foot = np.linspace(1.04, 0.88, height, dtype=np.float32)[:, None]
        pixels[..., :3] *= (stains * grain * foot)[..., None]
        return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), "RGBA")

    def _pixel(self, point: Point) -> tuple[int, int]:
        x, y = point
        return round(x * self._scale), round(self._image.height - y * self._scale)


def opening(kind: Opening, x: float, y: float, width: float, height: float) -> list[Point]:
    """Outline of a window or door with its bottom left corner at (x, y)."""
    if kind == "flat":
        return [(x, y), (x, y + height), (x + width, y + height), (x + width, y)]
    half, middle = width / 2, x + width / 2
    rise = min(height * 0.7, half * {"round": 1.0, "pointed": 1.5, "segment": 0.4, "horseshoe": 1.2}[kind])
    spring = y + height - rise
    turns = np.linspace(math.pi, 0.0, 13)
    if kind == "pointed":
        return [(x, y), (x, spring), *_pointed(x, spring, width, rise), (x + width, spring), (x + width, y)]
    bulge = 1.15 if kind == "horseshoe" else 1.0
    arc = [(middle + half * bulge * math.cos(t), spring + rise * math.sin(t)) for t in turns]
    return [(x, y), *arc, (x + width, y)]


def _pointed(x: float, spring: float, width: float, rise: float) -> list[Point]:
    left = [(x + width / 2 * (1 - math.cos(t)), spring + rise * math.sin(t)) for t in np.linspace(0, 1.25, 6)]
    right = [(2 * x + width - px, py) for px, py in reversed(left)]
    return [*left, (x + width / 2, spring + rise), *right]
