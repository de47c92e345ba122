"""What stands around a landmark and tells nothing about it: neighbours, trees, cars, people, lamps.

In: a random generator. Out: one stock of painted sheets, used in the photographs of every landmark.
"""

import math
from dataclasses import dataclass

import numpy as np

from student_trainer.demo.scenery.ornaments import Band, Masonry, Ornament, Ribs, Windows
from student_trainer.demo.scenery.palette import (
    TRIMS,
    WALLS,
    Colour,
    Rng,
    between,
    chance,
    pick,
    scaled,
    varied,
    varied_material,
)
from student_trainer.demo.scenery.solids import Mason, Sheet
from student_trainer.demo.scenery.wall import OPENINGS, Wall

LEAVES: tuple[Colour, ...] = ((70, 104, 52), (92, 120, 60), (54, 84, 56), (128, 124, 58), (176, 112, 52))
PAINTS: tuple[Colour, ...] = (
    (190, 46, 40),
    (40, 74, 130),
    (228, 228, 224),
    (40, 42, 46),
    (214, 176, 60),
    (96, 124, 110),
)
CLOTHES: tuple[Colour, ...] = (
    (52, 60, 88),
    (176, 60, 56),
    (220, 214, 200),
    (60, 96, 80),
    (40, 38, 40),
    (206, 160, 84),
)
SKIN: tuple[Colour, ...] = ((232, 196, 168), (188, 140, 106), (116, 80, 60))
PX_PER_M = 9.0


@dataclass(frozen=True)
class Standing:
    """A painted thing with its size in metres."""

    width: float
    height: float
    sheet: Sheet


@dataclass(frozen=True)
class Stock:
    """Everything that may stand around, to choose from."""

    neighbours: tuple[Standing, ...]
    trees: tuple[Standing, ...]
    cars: tuple[Standing, ...]
    people: tuple[Standing, ...]
    lamps: tuple[Standing, ...]


def make_stock(rng: Rng) -> Stock:
    """Paint the stock."""
    return Stock(
        neighbours=tuple(_neighbour(rng) for _ in range(18)),
        trees=tuple(_tree(rng) for _ in range(14)),
        cars=tuple(_car(rng) for _ in range(10)),
        people=tuple(_person(rng) for _ in range(14)),
        lamps=tuple(_lamp(rng) for _ in range(3)),
    )


def _neighbour(rng: Rng) -> Standing:
    width, storeys = between(rng, 9, 22), int(rng.integers(3, 8))
    height, wall, trim = storeys * 3.4 + 1.5, varied_material(rng, WALLS), pick(rng, TRIMS)
    ornaments: list[Ornament] = []
    if chance(rng, 0.3):
        ornaments.append(
            Ribs(1.0, height - 2.0, max(3, round(width / 2.6)), 3.4, wall.colour, (90, 110, 124))
        )
    else:
        kind, columns = pick(rng, OPENINGS), max(3, round(width / between(rng, 2.4, 4.0)))
        for storey in range(storeys):
            ornaments.append(Windows(0.6, storey * 3.4 + 1.0, width - 1.2, columns, 1.3, 1.9, kind, trim))
    ornaments.append(Band(height - 0.9, 0.6, trim))
    mason = Mason(rng, PX_PER_M * 0.7)
    return Standing(width, height, mason.sheet(width, height, wall.colour, (Masonry(wall), *ornaments)))


def _tree(rng: Rng) -> Standing:
    height, leaf = between(rng, 7, 14), varied(rng, pick(rng, LEAVES))
    width = height * between(rng, 0.5, 0.85)
    wall = Wall(width, height, PX_PER_M, leaf)
    middle, trunk = width / 2, height * 0.035
    wall.polygon(
        [
            (middle - trunk, 0),
            (middle - trunk / 2, height * 0.5),
            (middle + trunk / 2, height * 0.5),
            (middle + trunk, 0),
        ],
        (84, 66, 50),
    )
    pointed, bare = chance(rng, 0.3), chance(rng, 0.12)
    if bare:
        for turn in rng.uniform(-0.9, 0.9, 26):
            foot = height * between(rng, 0.3, 0.6)
            reach = height * between(rng, 0.2, 0.4)
            tip = (middle + reach * math.sin(turn) * 0.8, foot + reach * math.cos(turn))
            wall.line([(middle, foot), tip], 0.14, (84, 66, 50))
    for layer in range(0 if bare else 90):
        rise = between(rng, 0.22, 0.95)
        room = (1 - rise) if pointed else math.sqrt(max(0.02, 1 - ((rise - 0.58) / 0.42) ** 2)) * 0.8
        x = middle + rng.normal(0, 0.22) * width * room
        size = width * 0.13 * between(rng, 0.6, 1.3) * (room * 0.7 + 0.3)
        tone = 0.62 + 0.45 * rise + 0.25 * (layer / 90) - 0.15 * (x - middle) / width
        wall.ellipse(x, rise * height, size, size * 0.8, scaled(leaf, tone))
    sheet = wall.finished(rng)
    return Standing(width, height, Sheet(sheet, sheet))


def _car(rng: Rng) -> Standing:
    bus = chance(rng, 0.2)
    width, height, paint = (9.5, 3.1) if bus else (4.4, 1.5), 0.0, varied(rng, pick(rng, PAINTS))
    length, tall = width
    del height
    wall = Wall(length, tall, PX_PER_M * 2, paint)
    glass = (58, 70, 82)
    if bus:
        wall.rectangle(0.1, 0.4, length - 0.2, tall - 0.4, paint)
        for x in np.arange(0.4, length - 1.2, 1.4):
            wall.rectangle(x, 1.5, 1.15, 1.0, glass)
    else:
        roof = [(0.9, 0.85), (1.4, tall), (3.1, tall), (3.8, 0.85)]
        wall.polygon(roof, paint)
        wall.polygon([(1.05, 0.9), (1.5, tall - 0.12), (2.2, tall - 0.12), (2.2, 0.9)], glass)
        wall.polygon([(2.32, 0.9), (2.32, tall - 0.12), (3.0, tall - 0.12), (3.55, 0.9)], glass)
        wall.polygon(
            [(0.05, 0.3), (0.05, 0.8), (0.8, 0.95), (3.9, 0.95), (length, 0.7), (length, 0.3)], paint
        )
    for x in (length * 0.2, length * 0.8):
        wall.ellipse(x, 0.36, 0.36, 0.36, (28, 28, 30))
        wall.ellipse(x, 0.36, 0.17, 0.17, (150, 150, 154))
    sheet = wall.finished(rng, 0.03)
    return Standing(length, tall, Sheet(sheet, sheet))


def _person(rng: Rng) -> Standing:
    height, coat, legs = between(rng, 1.55, 1.9), pick(rng, CLOTHES), pick(rng, CLOTHES)
    skin = pick(rng, SKIN)
    wall = Wall(0.9, height, PX_PER_M * 3, coat)
    stride = between(rng, 0.02, 0.16)
    for side in (-1, 1):
        foot = 0.45 + side * stride
        wall.polygon(
            [
                (foot - 0.08, 0),
                (0.45 + side * 0.02 - 0.09, height * 0.5),
                (0.54, height * 0.5),
                (foot + 0.08, 0),
            ],
            legs,
        )
    wall.polygon(
        [(0.27, height * 0.45), (0.24, height * 0.82), (0.66, height * 0.82), (0.63, height * 0.45)], coat
    )
    wall.polygon(
        [(0.2, height * 0.46), (0.24, height * 0.82), (0.32, height * 0.82), (0.28, height * 0.46)],
        scaled(coat, 0.8),
    )
    wall.ellipse(0.45, height * 0.91, 0.105, height * 0.075, skin)
    wall.ellipse(
        0.45, height * 0.945, 0.11, height * 0.05, pick(rng, ((40, 30, 26), (120, 84, 50), (70, 66, 64)))
    )
    sheet = wall.finished(rng, 0.03)
    return Standing(0.9, height, Sheet(sheet, sheet))


def _lamp(rng: Rng) -> Standing:
    height, post = between(rng, 4.5, 7.0), (52, 56, 58)
    sheets = []
    for bulb in ((226, 224, 210), (255, 226, 160)):
        wall = Wall(1.6, height, PX_PER_M * 2, post)
        wall.rectangle(0.74, 0, 0.12, height - 0.7, post)
        wall.rectangle(0.66, 0, 0.28, 0.6, post)
        for x in (0.3, 1.3):
            wall.line([(0.8, height - 1.0), (x, height - 0.8)], 0.1, post)
            wall.ellipse(x, height - 0.5, 0.24, 0.3, bulb)
        sheets.append(wall.finished(np.random.default_rng(0), 0.0))
    return Standing(1.6, height, Sheet(*sheets))
