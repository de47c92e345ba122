"""What covers a wall: masonry, windows, bands, columns, portals, clocks.

In: a wall to draw on, whether its windows are lit, and a random generator that is the same by day
and by night. Out: the drawn wall. Every ornament is plain data; positions are metres on the wall.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from student_trainer.demo.scenery.palette import Colour, Material, Rng, blended, chance, scaled
from student_trainer.demo.scenery.wall import Opening, Point, Wall, opening

GLASS: Colour = (70, 84, 100)
SKY_IN_GLASS: Colour = (150, 176, 200)
DARK_ROOM: Colour = (34, 32, 40)
LAMP_LIGHT: Colour = (255, 206, 120)


class Ornament(Protocol):
    """Draws itself on a wall."""

    def paint(self, wall: Wall, lit: bool, rng: Rng) -> None: ...


@dataclass(frozen=True)
class Masonry:
    """The wall itself, from ``y`` up: courses of bricks, stones or plain plaster."""

    material: Material
    y: float = 0.0
    height: float = math.inf

    def paint(self, wall: Wall, lit: bool, rng: Rng) -> None:
        del lit
        colour, course = self.material.colour, self.material.course_m
        top = min(wall.height_m, self.y + self.height)
        wall.rectangle(0, self.y, wall.width_m, top - self.y, colour)
        if course <= 0:
            return
        for y in np.arange(self.y, top, course):
            tint = 1 + rng.normal(0, self.material.relief / 3)
            wall.rectangle(0, y, wall.width_m, min(course, top - y), scaled(colour, tint))
            for x in rng.uniform(0, wall.width_m, math.ceil(wall.width_m / course / 4)):
                stone = scaled(colour, tint * (1 + rng.normal(0, self.material.relief)))
                wall.rectangle(x, y, course * 1.8, min(course, top - y), stone)
            wall.line([(0, y), (wall.width_m, y)], 0.05, scaled(colour, 0.86))


@dataclass(frozen=True)
class Windows:
    """A row of equal windows between ``x`` and ``x + span`` with their sills at ``y``."""

    x: float
    y: float
    span: float
    count: int
    width: float
    height: float
    kind: Opening
    frame: Colour
    panes: tuple[int, int] = (2, 2)
    surround: float = 0.12
    shutters: Colour | None = None
    balcony: bool = False

    def paint(self, wall: Wall, lit: bool, rng: Rng) -> None:
        pitch = self.span / self.count
        for index in range(self.count):
            left = self.x + pitch * (index + 0.5) - self.width / 2
            self._paint_one(wall, left, _glass(rng, lit))

    def _paint_one(self, wall: Wall, left: float, glass: Colour) -> None:
        rim = self.surround
        if rim > 0:
            outer = opening(self.kind, left - rim, self.y - rim, self.width + 2 * rim, self.height + 2 * rim)
            wall.polygon(outer, self.frame)
        wall.polygon(opening(self.kind, left, self.y, self.width, self.height), glass)
        across, up = self.panes
        for i in range(1, across):
            x = left + self.width * i / across
            wall.line([(x, self.y), (x, self.y + self.height * 0.9)], 0.07, self.frame)
        for j in range(1, up):
            y = self.y + self.height * j / up
            wall.line([(left, y), (left + self.width, y)], 0.07, self.frame)
        if self.shutters is not None:
            leaf = self.width * 0.42
            wall.rectangle(left - rim - leaf, self.y, leaf, self.height * 0.95, self.shutters)
            wall.rectangle(left + self.width + rim, self.y, leaf, self.height * 0.95, self.shutters)
        if self.balcony:
            wall.rectangle(left - 0.4, self.y - 0.25, self.width + 0.8, 0.9, scaled(self.frame, 0.55))
            wall.rectangle(left - 0.5, self.y - 0.35, self.width + 1.0, 0.2, self.frame)


@dataclass(frozen=True)
class Band:
    """A cornice or a stripe across the wall; ``shadow`` draws the dark line under it."""

    y: float
    height: float
    colour: Colour
    shadow: bool = True
    dentils: bool = False

    def paint(self, wall: Wall, lit: bool, rng: Rng) -> None:
        del lit, rng
        if self.shadow:
            wall.rectangle(
                0, self.y - self.height * 0.6, wall.width_m, self.height * 0.6, scaled(self.colour, 0.55)
            )
        wall.rectangle(0, self.y, wall.width_m, self.height, self.colour)
        if self.dentils:
            for x in np.arange(0, wall.width_m, 1.2):
                wall.rectangle(x, self.y - self.height * 0.5, 0.6, self.height * 0.5, self.colour)


@dataclass(frozen=True)
class Portal:
    """A door in a stepped frame."""

    x: float
    width: float
    height: float
    kind: Opening
    door: Colour
    frame: Colour
    orders: int = 2
    y: float = 0.0

    def paint(self, wall: Wall, lit: bool, rng: Rng) -> None:
        del rng
        step = self.width * 0.09
        for order in range(self.orders, 0, -1):
            grow = step * order
            outline = opening(
                self.kind, self.x - self.width / 2 - grow, self.y, self.width + 2 * grow, self.height + grow
            )
            wall.polygon(outline, scaled(self.frame, 1.0 if order % 2 == 0 else 0.72))
        fill = blended(self.door, LAMP_LIGHT, 0.35) if lit else self.door
        wall.polygon(opening(self.kind, self.x - self.width / 2, self.y, self.width, self.height), fill)
        wall.line([(self.x, self.y), (self.x, self.y + self.height * 0.75)], 0.12, scaled(fill, 0.6))


@dataclass(frozen=True)
class Recess:
    """A deep niche or passage: dark towards its middle, with the light of the far end."""

    x: float
    width: float
    height: float
    kind: Opening
    colour: Colour
    frame: Colour
    y: float = 0.0
    through: bool = True

    def paint(self, wall: Wall, lit: bool, rng: Rng) -> None:
        del rng
        rim = self.width * 0.08
        outer = opening(
            self.kind, self.x - self.width / 2 - rim, self.y, self.width + 2 * rim, self.height + rim
        )
        wall.polygon(outer, self.frame)
        for step in range(5):
            shrink = 1 - 0.11 * step
            width, height = self.width * shrink, self.height * (1 - 0.07 * step)
            tone = scaled(self.colour, 0.72 - 0.11 * step)
            tone = blended(tone, LAMP_LIGHT, 0.12 * step) if lit else tone
            wall.polygon(opening(self.kind, self.x - width / 2, self.y, width, height), tone)
        width, height = self.width * 0.4, self.height * 0.56
        if self.through:
            end = (60, 66, 84) if lit else (196, 206, 216)
        else:
            end = LAMP_LIGHT if lit else DARK_ROOM
        wall.polygon(opening(self.kind, self.x - width / 2, self.y, width, height), end)


@dataclass(frozen=True)
class Colonnade:
    """Columns from ``y`` up to ``y + height`` before a shaded wall."""

    x: float
    y: float
    span: float
    height: float
    count: int
    girth: float
    colour: Colour
    recess: Colour | None = None
    arcade: Opening | None = None

    def paint(self, wall: Wall, lit: bool, rng: Rng) -> None:
        del rng
        pitch = self.span / (self.count - 1) if self.count > 1 else self.span
        if self.recess is not None:
            shade = blended(self.recess, LAMP_LIGHT, 0.45) if lit else self.recess
            self._paint_bays(wall, pitch, shade)
        for index in range(self.count):
            middle = self.x + (index * pitch if self.count > 1 else self.span / 2)
            self._paint_column(wall, middle)

    def _paint_bays(self, wall: Wall, pitch: float, shade: Colour) -> None:
        if self.arcade is None:
            wall.rectangle(self.x, self.y, self.span, self.height, shade)
            return
        for index in range(self.count - 1):
            left = self.x + index * pitch + self.girth * 0.4
            outline = opening(self.arcade, left, self.y, pitch - self.girth * 0.8, self.height)
            wall.polygon(outline, shade)

    def _paint_column(self, wall: Wall, middle: float) -> None:
        height = self.height if self.arcade is None else self.height * 0.66
        for offset, width, tone in ((0.0, 1.0, 1.0), (0.3, 0.4, 0.78), (-0.32, 0.3, 1.1)):
            left = middle + (offset - width / 2) * self.girth
            wall.rectangle(left, self.y, self.girth * width, height, scaled(self.colour, tone))
        for y, grow in ((self.y, 1.4), (self.y + height - self.girth * 0.5, 1.5)):
            wall.rectangle(
                middle - self.girth * grow / 2,
                y,
                self.girth * grow,
                self.girth * 0.5,
                scaled(self.colour, 0.94),
            )


@dataclass(frozen=True)
class Clock:
    """A clock face; it shows another time in another photograph only if drawn anew, so it stands still."""

    x: float
    y: float
    radius: float
    face: Colour
    rim: Colour
    hour: float

    def paint(self, wall: Wall, lit: bool, rng: Rng) -> None:
        del rng
        wall.ellipse(self.x, self.y, self.radius * 1.18, self.radius * 1.18, self.rim)
        wall.ellipse(self.x, self.y, self.radius, self.radius, LAMP_LIGHT if lit else self.face)
        for mark in range(12):
            turn = math.tau * mark / 12
            points = [self._on_dial(turn, share) for share in (0.8, 0.95)]
            wall.line(points, self.radius * 0.08, DARK_ROOM)
        for turn, reach in ((math.tau * self.hour / 12, 0.5), (math.tau * (self.hour % 1), 0.75)):
            wall.line([(self.x, self.y), self._on_dial(turn, reach)], self.radius * 0.12, DARK_ROOM)

    def _on_dial(self, turn: float, share: float) -> Point:
        return self.x + self.radius * share * math.sin(turn), self.y + self.radius * share * math.cos(turn)


@dataclass(frozen=True)
class Rose:
    """A round window with tracery."""

    x: float
    y: float
    radius: float
    petals: int
    frame: Colour
    glass: Colour

    def paint(self, wall: Wall, lit: bool, rng: Rng) -> None:
        del rng
        wall.ellipse(self.x, self.y, self.radius * 1.2, self.radius * 1.2, scaled(self.frame, 0.75))
        wall.ellipse(self.x, self.y, self.radius * 1.08, self.radius * 1.08, self.frame)
        glass = blended(self.glass, LAMP_LIGHT, 0.6) if lit else self.glass
        for petal in range(self.petals):
            turn = math.tau * petal / self.petals
            reach = self.radius * 0.66
            x, y = self.x + reach * math.sin(turn), self.y + reach * math.cos(turn)
            size = min(self.radius * 0.3, math.pi * reach / self.petals * 0.85)
            wall.ellipse(x, y, size, size, glass)
        wall.ellipse(self.x, self.y, self.radius * 0.28, self.radius * 0.28, glass)


@dataclass(frozen=True)
class Relief:
    """Blocks of carving: a frieze, an inscription or a group of statues in relief."""

    x: float
    y: float
    width: float
    height: float
    colour: Colour
    pieces: int

    def paint(self, wall: Wall, lit: bool, rng: Rng) -> None:
        del lit
        wall.rectangle(self.x, self.y, self.width, self.height, scaled(self.colour, 0.8))
        pitch = self.width / self.pieces
        for index in range(self.pieces):
            height = self.height * rng.uniform(0.5, 0.95)
            left = self.x + pitch * (index + 0.2)
            wall.rectangle(left, self.y, pitch * 0.6, height, scaled(self.colour, 1.08))


@dataclass(frozen=True)
class Battlements:
    """Notches cut into the top of the wall."""

    height: float
    count: int

    def paint(self, wall: Wall, lit: bool, rng: Rng) -> None:
        del lit, rng
        pitch = wall.width_m / (2 * self.count + 1)
        low, high = wall.height_m - self.height, wall.height_m + 0.1
        for index in range(self.count):
            left = pitch * (2 * index + 1)
            wall.polygon([(left, low), (left, high), (left + pitch, high), (left + pitch, low)], DARK_ROOM, 0)


@dataclass(frozen=True)
class Outline:
    """Cuts the wall to a shape: a gable, a sloped roof, a row of figures."""

    points: tuple[Point, ...]

    def paint(self, wall: Wall, lit: bool, rng: Rng) -> None:
        del lit, rng
        wall.keep_inside(self.points)


@dataclass(frozen=True)
class Ribs:
    """Vertical strips of glass between piers, floor by floor: a tall modern front."""

    y: float
    height: float
    bays: int
    floor_m: float
    pier: Colour
    glass: Colour
    pier_share: float = 0.35

    def paint(self, wall: Wall, lit: bool, rng: Rng) -> None:
        bay = wall.width_m / self.bays
        for index in range(self.bays):
            left = (index + self.pier_share / 2) * bay
            for y in np.arange(self.y, self.y + self.height - self.floor_m * 0.5, self.floor_m):
                pane = _glass(rng, lit, blended(self.glass, SKY_IN_GLASS, 0.4))
                wall.rectangle(left, y, bay * (1 - self.pier_share), self.floor_m * 0.78, pane)
        for index in range(self.bays + 1):
            wall.rectangle(
                (index - self.pier_share / 2) * bay, self.y, bay * self.pier_share, self.height, self.pier
            )


@dataclass(frozen=True)
class Lattice:
    """Diagonal or upright bracing over the whole wall."""

    pitch: float
    girth: float
    colour: Colour
    diagonal: bool = True

    def paint(self, wall: Wall, lit: bool, rng: Rng) -> None:
        del lit, rng
        width, height = wall.width_m, wall.height_m
        for y in np.arange(0, height, self.pitch):
            wall.line([(0, y), (width, y)], self.girth, self.colour)
            if self.diagonal:
                wall.line([(0, y), (width, y + self.pitch)], self.girth, self.colour)
                wall.line([(width, y), (0, y + self.pitch)], self.girth, self.colour)


def _glass(rng: Rng, lit: bool, day: Colour = GLASS) -> Colour:
    """A pane: it mirrors the sky by day; by night somebody may be at home."""
    brightness, home, warmth = rng.random(), chance(rng, 0.45), rng.uniform(0.6, 1.0)
    if lit:
        return scaled(LAMP_LIGHT, warmth) if home else DARK_ROOM
    return blended(scaled(day, 0.75 + 0.4 * brightness), SKY_IN_GLASS, 0.25 * brightness)
