"""Boxes, roofs and round towers in space, and the painted sheets that they wear.

In: sizes in metres, materials and ornaments. Out: solids that the camera can project. The ground is
y = 0, x runs to the right, z away from a viewer who stands before the main front (z = 0).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from student_trainer.demo.scenery.ornaments import Masonry, Ornament, Outline
from student_trainer.demo.scenery.palette import Colour, Material, Rng, scaled
from student_trainer.demo.scenery.wall import Point, Wall

Vectors: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Sheet:
    """One painted side by day and by night (RGBA, same size)."""

    day: Image.Image
    night: Image.Image

    def at(self, night: bool) -> Image.Image:
        return self.night if night else self.day


@dataclass(frozen=True)
class Face:
    """A flat side: corners [4, 3] top left, top right, bottom right, bottom left as seen from outside."""

    corners: Vectors
    sheet: Sheet


@dataclass(frozen=True)
class Round:
    """A body of revolution: it looks the same from every side, so it always faces the camera.

    ``bend`` (8-bit, the size of the sheet) is how far the surface turns: 0 to the left, 255 to the right.
    """

    foot: Vectors
    width: float
    height: float
    sheet: Sheet
    bend: Image.Image


Solid: TypeAlias = tuple[Face | Round, ...]


@dataclass(frozen=True)
class Box:
    """Where a box stands: ``x`` is its middle, ``z`` its front, ``y`` its foot."""

    x: float
    z: float
    width: float
    depth: float
    height: float
    y: float = 0.0

    @property
    def top(self) -> float:
        return self.y + self.height


class Mason:
    """Paints sheets at one scale, each from its own stream of the building's generator."""

    def __init__(self, rng: Rng, px_per_m: float) -> None:
        self._rng, self._px_per_m = rng, px_per_m

    def sheet(self, width: float, height: float, ground: Colour, ornaments: Sequence[Ornament]) -> Sheet:
        """A wall with its ornaments, drawn in order."""
        seed = int(self._rng.integers(2**32))
        day, night = (self._painted(seed, width, height, ground, ornaments, lit) for lit in (False, True))
        return Sheet(day, night)

    def _painted(
        self, seed: int, width: float, height: float, ground: Colour, ornaments: Sequence[Ornament], lit: bool
    ) -> Image.Image:
        rng = np.random.default_rng(seed)
        wall = Wall(width, height, self._px_per_m, ground)
        for ornament in ornaments:
            ornament.paint(wall, lit, rng)
        return wall.finished(rng)

    def box(
        self, box: Box, wall: Material, front: Sequence[Ornament], side: Sequence[Ornament] = ()
    ) -> Solid:
        """A box with a front, two equal sides and a flat top."""
        masonry = Masonry(wall)
        front_sheet = self.sheet(box.width, box.height, wall.colour, (masonry, *front))
        side_sheet = self.sheet(box.depth, box.height, wall.colour, (masonry, *side))
        top_sheet = self.sheet(
            1.0, 1.0, wall.colour, (Masonry(Material(scaled(wall.colour, 0.95), 0.0, 0.0)),)
        )
        left, right = box.x - box.width / 2, box.x + box.width / 2
        near, far = box.z, box.z + box.depth
        return (
            Face(_upright((left, near), (right, near), box.y, box.top), front_sheet),
            Face(_upright((right, near), (right, far), box.y, box.top), side_sheet),
            Face(_upright((left, far), (left, near), box.y, box.top), side_sheet),
            Face(
                np.array(
                    [(x, box.top, z) for x, z in ((left, far), (right, far), (right, near), (left, near))]
                ),
                top_sheet,
            ),
        )

    def gable_roof(
        self, box: Box, rise: float, roof: Material, wall: Material, gable: Sequence[Ornament] = ()
    ) -> Solid:
        """A roof whose ridge runs away from the viewer, with a gable of wall before it."""
        left, right, top = box.x - box.width / 2, box.x + box.width / 2, box.top
        near, far = box.z, box.z + box.depth
        triangle = Outline(((0, 0), (box.width / 2, rise), (box.width, 0)))
        front = self.sheet(box.width, rise, wall.colour, (Masonry(wall), *gable, triangle))
        slope = self.sheet(box.depth, math.hypot(box.width / 2, rise), roof.colour, (Masonry(roof),))
        peak = top + rise
        return (
            Face(_upright((left, near), (right, near), top, peak), front),
            Face(_slope((box.x, near), (box.x, far), peak, (right, far), (right, near), top), slope),
            Face(_slope((box.x, far), (box.x, near), peak, (left, near), (left, far), top), slope),
        )

    def hip_roof(
        self, box: Box, rise: float, roof: Material, run: float | None = None, eaves: float = 0.0
    ) -> Solid:
        """A roof that slopes on every side by ``run`` metres inwards (default: to a point or a ridge)."""
        width, depth = box.width + 2 * eaves, box.depth + 2 * eaves
        left, right = box.x - width / 2, box.x + width / 2
        near, far, foot = box.z - eaves, box.z + box.depth + eaves, box.top - eaves * 0.3
        inward = min(width, depth) / 2 if run is None else min(run, width / 2, depth / 2)
        peak, length = foot + rise, math.hypot(rise, inward)
        front = self.sheet(
            width, length, roof.colour, (Masonry(roof), Outline(_trapezium(width, length, inward)))
        )
        side = self.sheet(
            depth, length, roof.colour, (Masonry(roof), Outline(_trapezium(depth, length, inward)))
        )
        return (
            Face(
                _slope(
                    (left, near + inward), (right, near + inward), peak, (right, near), (left, near), foot
                ),
                front,
            ),
            Face(
                _slope(
                    (right - inward, near), (right - inward, far), peak, (right, far), (right, near), foot
                ),
                side,
            ),
            Face(
                _slope((left + inward, far), (left + inward, near), peak, (left, near), (left, far), foot),
                side,
            ),
        )

    def turned(
        self,
        x: float,
        y: float,
        z: float,
        profile: Sequence[tuple[float, float]],
        wall: Material,
        ornaments: Sequence[Ornament] = (),
    ) -> Solid:
        """A body of revolution around (x, z).

        ``profile`` lists (height above ``y``, radius) from the foot up; ornaments are given on a sheet
        as wide as the largest radius twice.
        """
        width, height = 2 * max(r for _, r in profile), max(h for h, _ in profile)
        outline = _silhouette(profile, width)
        sheet = self.sheet(width, height, wall.colour, (Masonry(wall), *ornaments, Outline(outline)))
        return (Round(np.array((x, y, z)), width, height, sheet, _bend(sheet.day)),)


def dome(radius: float, height: float, bulge: float = 1.0, steps: int = 14) -> list[tuple[float, float]]:
    """Profile of a dome; ``bulge`` over 1 swells above its foot like an onion and ends in a point."""
    profile = []
    for share in np.linspace(0, 1, steps):
        swell = 1 + (bulge - 1) * math.sin(math.pi * min(1.0, share * 1.6))
        r = radius * swell * math.sqrt(max(0.0, 1 - share ** (2 if bulge <= 1.0 else 1.5)))
        profile.append((height * share, max(0.02 * radius, r)))
    return profile


def spire(radius: float, height: float) -> list[tuple[float, float]]:
    """Profile of a cone."""
    return [(0.0, radius), (height, radius * 0.03)]


def drum(radius: float, height: float, top: float | None = None) -> list[tuple[float, float]]:
    """Profile of a cylinder, or with ``top`` of a tapering shaft."""
    return [(0.0, radius), (height, radius if top is None else top)]


def _upright(start: Point, end: Point, foot: float, top: float) -> Vectors:
    (x0, z0), (x1, z1) = start, end
    return np.array([(x0, top, z0), (x1, top, z1), (x1, foot, z1), (x0, foot, z0)])


def _slope(top_left: Point, top_right: Point, peak: float, right: Point, left: Point, foot: float) -> Vectors:
    return np.array(
        [
            (top_left[0], peak, top_left[1]),
            (top_right[0], peak, top_right[1]),
            (right[0], foot, right[1]),
            (left[0], foot, left[1]),
        ]
    )


def _trapezium(width: float, height: float, inward: float) -> tuple[Point, ...]:
    return ((0.0, 0.0), (inward, height), (width - inward, height), (width, 0.0))


def _silhouette(profile: Sequence[tuple[float, float]], width: float) -> tuple[Point, ...]:
    right = [(width / 2 + r, h) for h, r in profile]
    left = [(width / 2 - r, h) for h, r in reversed(profile)]
    return (*right, *left)


def _bend(sheet: Image.Image) -> Image.Image:
    """For each pixel of a silhouette, its place between the left (0) and the right (255) rim of its row."""
    inside = np.asarray(sheet.getchannel("A")) > 127
    columns = np.arange(inside.shape[1])
    left = np.where(inside, columns, inside.shape[1]).min(axis=1)
    right = np.where(inside, columns, -1).max(axis=1)
    half = np.maximum((right - left) / 2, 0.5)
    bend = (columns[None, :] - ((left + right) / 2)[:, None]) / half[:, None]
    return Image.fromarray(np.clip(127.5 * (bend + 1), 0, 255).astype(np.uint8))
