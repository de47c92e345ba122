"""Colours and materials, shared by every building so that none is known by its colour alone.

In: a random generator. Out: colours as 8-bit RGB triples, and the materials of walls and roofs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np

Colour: TypeAlias = tuple[int, int, int]
Rng: TypeAlias = np.random.Generator
T = TypeVar("T")


@dataclass(frozen=True)
class Material:
    """What a surface is made of.

    ``course_m`` is the height of one course of bricks or stones, ``relief`` how far its single
    stones differ in brightness (0 to 1).
    """

    colour: Colour
    course_m: float
    relief: float


WALLS: tuple[Material, ...] = (
    Material((212, 188, 146), 0.9, 0.10),  # sandstone
    Material((168, 92, 70), 0.5, 0.12),  # red brick
    Material((233, 229, 219), 1.4, 0.04),  # marble
    Material((156, 152, 146), 1.0, 0.11),  # granite
    Material((224, 186, 108), 0.0, 0.05),  # ochre plaster
    Material((214, 160, 140), 0.0, 0.05),  # rose plaster
    Material((178, 198, 204), 0.0, 0.05),  # pale blue plaster
    Material((116, 108, 104), 0.8, 0.13),  # basalt
    Material((196, 196, 190), 2.2, 0.05),  # concrete
    Material((188, 122, 88), 0.7, 0.12),  # terracotta
    Material((222, 210, 176), 1.1, 0.08),  # limestone
    Material((150, 168, 140), 0.0, 0.06),  # green plaster
)

ROOFS: tuple[Material, ...] = (
    Material((92, 98, 110), 0.5, 0.10),  # slate
    Material((176, 92, 62), 0.6, 0.12),  # tiles
    Material((110, 160, 140), 1.6, 0.05),  # copper, weathered
    Material((138, 142, 146), 1.8, 0.05),  # lead
    Material((206, 168, 74), 1.2, 0.06),  # gilt
    Material((120, 84, 62), 0.5, 0.12),  # shingle
    Material((70, 104, 150), 1.0, 0.07),  # blue tiles
)

TRIMS: tuple[Colour, ...] = (
    (240, 236, 226),
    (204, 196, 178),
    (120, 84, 64),
    (86, 92, 98),
    (176, 64, 52),
    (64, 92, 78),
    (52, 72, 112),
)


def pick(rng: Rng, items: Sequence[T]) -> T:
    """One of ``items``, with equal chances."""
    return items[int(rng.integers(len(items)))]


def chance(rng: Rng, probability: float) -> bool:
    """True with this probability."""
    return bool(rng.random() < probability)


def between(rng: Rng, low: float, high: float) -> float:
    """Uniform in [low, high)."""
    return float(rng.uniform(low, high))


def scaled(colour: Colour, factor: float) -> Colour:
    """A brighter or darker form of ``colour``."""
    red, green, blue = (min(255, max(0, round(channel * factor))) for channel in colour)
    return red, green, blue


def blended(first: Colour, second: Colour, share: float) -> Colour:
    """``first`` with ``share`` (0 to 1) of it replaced by ``second``."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def varied(rng: Rng, colour: Colour, spread: float = 0.06) -> Colour:
    """The same colour from another quarry: brightness and hue differ by about ``spread``."""
    factors = 1 + rng.normal(0.0, spread) + rng.normal(0.0, spread / 3, 3)
    red, green, blue = (min(255, max(0, round(c * float(f)))) for c, f in zip(colour, factors, strict=True))
    return red, green, blue


def varied_material(rng: Rng, materials: Sequence[Material]) -> Material:
    """One of ``materials``, slightly its own."""
    base = pick(rng, materials)
    return Material(varied(rng, base.colour), base.course_m, base.relief)
