"""A pinhole camera: where it stands, and how flat sheets in space reach the picture.

In: points in metres (x right, y up, z away), and painted sheets. Out: pixel coordinates, and the
sheets drawn in perspective onto a picture.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from student_trainer.demo.scenery.solids import Vectors

NEAREST_M = 0.5
"""Nothing nearer to the camera than this is drawn."""


@dataclass(frozen=True)
class Camera:
    """Axes are the rows right, down, forward; the principal point may lie outside the picture's middle."""

    position: Vectors
    axes: Vectors
    focal_px: float
    centre_px: tuple[float, float]
    size_px: tuple[int, int]

    def project(self, points: Vectors) -> tuple[Vectors, Vectors]:
        """Pixel coordinates [n, 2] and depths in metres [n] of points [n, 3]."""
        seen = (points - self.position) @ self.axes.T
        depth = np.maximum(seen[:, 2], NEAREST_M)
        pixels = seen[:, :2] / depth[:, None] * self.focal_px + np.array(self.centre_px)
        return pixels, seen[:, 2]

    def upright(self, foot: Vectors, width: float, height: float) -> Vectors:
        """Corners [4, 3] of a standing sheet above ``foot`` that faces the camera."""
        away = foot - self.position
        across = np.array((away[2], 0.0, -away[0])) / max(1e-6, math.hypot(away[0], away[2]))
        half, up = across * width / 2, np.array((0.0, height, 0.0))
        return np.stack([foot - half + up, foot + half + up, foot + half, foot - half])

    def horizon(self) -> list[tuple[float, float]]:
        """Polygon of the ground in pixels: from the horizon to below the picture."""
        forward = np.array((self.axes[2, 0], 0.0, self.axes[2, 2]))
        forward /= np.linalg.norm(forward)
        across = np.array((forward[2], 0.0, -forward[0]))
        far = self.position + forward * 1e4
        far[1] = 0.0
        ends, _ = self.project(np.stack([far - across * 2e4, far + across * 2e4]))
        (x0, y0), (x1, y1) = ends.tolist()
        below = 4 * max(self.size_px)
        return [(x0, y0), (x1, y1), (x1, y1 + below), (x0, y0 + below)]


def look_at(
    position: Vectors,
    target: Vectors,
    roll_rad: float,
    focal_px: float,
    size_px: tuple[int, int],
    level: float,
) -> Camera:
    """A camera at ``position`` that has ``target`` in the middle of its picture.

    ``level`` in [0, 1]: 0 tilts the camera, so that upright lines converge; 1 keeps it level and
    shifts the picture instead, as architects' cameras do.
    """
    away = target - position
    flat = math.hypot(away[0], away[2])
    tilt = math.atan2(away[1], flat) * (1 - level)
    heading = np.array((away[0] / flat, 0.0, away[2] / flat))
    forward = heading * math.cos(tilt) + np.array((0.0, math.sin(tilt), 0.0))
    right = np.array((heading[2], 0.0, -heading[0]))
    down = np.cross(right, forward)
    turn = np.array(((math.cos(roll_rad), -math.sin(roll_rad)), (math.sin(roll_rad), math.cos(roll_rad))))
    right, down = turn @ np.stack([right, down])
    axes = np.stack([right, down, forward])
    seen = axes @ away
    offset = seen[:2] / seen[2] * focal_px
    centre = (size_px[0] / 2 - float(offset[0]), size_px[1] / 2 - float(offset[1]))
    return Camera(position, axes, focal_px, centre, size_px)


def draw_sheet(picture: Image.Image, sheet: Image.Image, corners_px: Vectors) -> None:
    """Draw ``sheet`` (RGBA) with its corners, from top left clockwise, on ``corners_px`` [4, 2]."""
    corners = _widened(corners_px)
    left, top = (int(v) for v in np.maximum(np.floor(corners.min(axis=0)), 0))
    right, bottom = (int(v) for v in np.minimum(np.ceil(corners.max(axis=0)), picture.size))
    if right <= left or bottom <= top:
        return
    sheet = _reduced(sheet, corners)
    coefficients = _homography(corners - (left, top), sheet.size)
    drawn = sheet.transform(
        (right - left, bottom - top), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR
    )
    picture.paste(drawn, (left, top), drawn)


def faces_viewer(corners_px: Vectors) -> bool:
    """Whether corners listed clockwise as seen from outside appear clockwise in the picture."""
    x, y = corners_px[:, 0], corners_px[:, 1]
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) > 1.0


def _widened(corners: Vectors) -> Vectors:
    """Grown by about half a pixel, so that neighbouring sheets leave no crack."""
    outward = corners - corners.mean(axis=0)
    grown: Vectors = corners + outward / np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1.0) * 0.6
    return grown


def _reduced(sheet: Image.Image, corners: Vectors) -> Image.Image:
    """A smaller copy where the sheet appears much smaller than it is drawn: no glitter in the distance."""
    edges = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1)
    across = max(1, int(sheet.width / max(edges[0], edges[2], 1.0)))
    down = max(1, int(sheet.height / max(edges[1], edges[3], 1.0)))
    return sheet if across == down == 1 else sheet.reduce((min(across, 8), min(down, 8)))


def _homography(corners: Vectors, size: tuple[int, int]) -> list[float]:
    """The eight numbers that take picture coordinates to sheet coordinates."""
    width, height = size
    targets = ((0, 0), (width, 0), (width, height), (0, height))
    rows, values = [], []
    for (x, y), (u, v) in zip(corners.tolist(), targets, strict=True):
        rows += [(x, y, 1, 0, 0, 0, -u * x, -u * y), (0, 0, 0, x, y, 1, -v * x, -v * y)]
        values += [u, v]
    solution: list[float] = np.linalg.solve(np.array(rows, np.float64), np.array(values, np.float64)).tolist()
    return solution
