"""Clock towers, triumphal arches, step pyramids, round towers and lattice towers.

In: a random generator, and the mason who paints. Out: the solids of one building. Lengths are metres.
"""

from student_trainer.demo.scenery.ornaments import (
    Band,
    Battlements,
    Clock,
    Colonnade,
    Lattice,
    Ornament,
    Outline,
    Portal,
    Recess,
    Relief,
    Windows,
)
from student_trainer.demo.scenery.palette import (
    ROOFS,
    TRIMS,
    WALLS,
    Colour,
    Material,
    Rng,
    between,
    chance,
    pick,
    scaled,
    varied_material,
)
from student_trainer.demo.scenery.solids import Box, Mason, Solid, dome, drum, spire
from student_trainer.demo.scenery.wall import OPENINGS, Opening, Point, Wall

ARCHES: tuple[Opening, ...] = ("round", "pointed", "segment", "horseshoe")


def clock_tower(rng: Rng, mason: Mason) -> list[Solid]:
    """A tall tower with clocks under its belfry, beside or upon a lower house."""
    wall, roof, trim = varied_material(rng, WALLS), varied_material(rng, ROOFS), pick(rng, TRIMS)
    slim, height, kind = between(rng, 7, 11), between(rng, 34, 48), pick(rng, OPENINGS)
    levels, belfry = int(rng.integers(2, 6)), between(rng, 5, 8)
    clock_y = height - belfry - slim * 0.42 - 0.8
    rows: list[Ornament] = []
    pitch = (clock_y - slim * 0.5 - 3) / levels
    for level in range(levels):
        y = 3 + level * pitch
        rows += [
            Windows(0.7, y + 0.8, slim - 1.4, int(rng.integers(1, 4)), 1.1, pitch * 0.55, kind, trim, (1, 2)),
            Band(y + pitch - 0.4, 0.4, trim),
        ]
    rows += [
        Clock(
            slim / 2,
            clock_y,
            slim * 0.34,
            pick(rng, ((244, 240, 226), (40, 48, 72), (226, 206, 150))),
            trim,
            between(rng, 0, 12),
        ),
        Windows(
            0.6,
            height - belfry + 0.6,
            slim - 1.2,
            int(rng.integers(1, 4)),
            slim * 0.2,
            belfry - 2,
            pick(rng, ARCHES),
            trim,
            (1, 1),
        ),
        Band(height - belfry - 0.3, 0.6, trim, dentils=True),
        Band(height - 0.8, 0.8, trim, dentils=True),
    ]
    tower = Box(0, 0, slim, slim, height)
    door = Portal(slim / 2, 2.4, 3.0, pick(rng, ARCHES), (70, 50, 40), trim)
    solids = [mason.box(tower, wall, [*rows, door], rows)]
    crown = pick(rng, ("pyramid", "dome", "lantern", "battlements"))
    if crown == "pyramid":
        solids.append(mason.hip_roof(tower, between(rng, 6, 15), roof, eaves=between(rng, 0.0, 0.8)))
    elif crown == "battlements":
        solids.append(
            mason.box(
                Box(0, -0.5, slim + 1, slim + 1, 2.0, height),
                wall,
                [Battlements(1.1, 4)],
                [Battlements(1.1, 4)],
            )
        )
    else:
        cap = dome(slim * 0.46, slim * between(rng, 0.5, 0.9), 1.0 if crown == "dome" else 1.15)
        solids.append(mason.turned(0, height, slim / 2, cap, roof))
        solids.append(
            mason.turned(0, height + slim * 0.5, slim / 2, [(0, 1.0), (3, 1.0), (3.2, 1.3), (7, 0.05)], roof)
        )
    if chance(rng, 0.65):
        low, span = between(rng, 6, 11), between(rng, 8, 14)
        windows = Windows(0.5, 1.5, span - 1, int(rng.integers(3, 6)), 1.3, low * 0.55, kind, trim)
        for x in pick(rng, ((-1,), (1,), (-1, 1))):
            hall = Box(x * (slim + span) / 2, 1.5, span, 12, low)
            solids += [
                mason.box(hall, wall, [windows, Band(low - 0.6, 0.5, trim)], [windows]),
                mason.hip_roof(hall, 3.5, roof),
            ]
    return solids


def triumphal_arch(rng: Rng, mason: Mason) -> list[Solid]:
    """One or three passages between columns under an attic, with statues on top."""
    wall, trim = varied_material(rng, WALLS), varied_material(rng, WALLS).colour
    passages, kind = pick(rng, (1, 1, 3)), pick(rng, ARCHES)
    width = between(rng, 18, 26) if passages == 3 else between(rng, 13, 20)
    tall, attic = between(rng, 13, 19), between(rng, 3, 6)
    main = width * (0.3 if passages == 3 else between(rng, 0.34, 0.46))
    dark = scaled(wall.colour, 0.9)
    front: list[Ornament] = [Recess(width / 2, main, tall * 0.72, kind, dark, trim)]
    if passages == 3:
        front += [
            Recess(width * share, width * 0.15, tall * 0.42, kind, dark, trim) for share in (0.17, 0.83)
        ]
        front += [Relief(width * share - 1.4, tall * 0.55, 2.8, 2.4, trim, 4) for share in (0.17, 0.83)]
    elif chance(rng, 0.6):
        front += [
            Relief(width * share - 1.2, tall * 0.25, 2.4, tall * 0.35, trim, 3) for share in (0.12, 0.88)
        ]
    girth, pair = between(rng, 0.8, 1.2), pick(rng, (0, 1, 2))
    for share in (0.05, 0.32, 0.68, 0.95)[: 4 if pair else 0]:
        front.append(Colonnade(width * share - 0.6, 0, 1.2, tall - 1, pair, girth, scaled(trim, 1.05)))
    front += [Band(tall - 1.0, 1.0, trim, dentils=True)]
    depth = between(rng, 5, 9)
    niche = Recess(depth / 2, depth * 0.4, tall * 0.5, kind, dark, trim, through=False)
    solids = [mason.box(Box(0, 0, width, depth, tall), wall, front, [niche, Band(tall - 1.0, 1.0, trim)])]
    text = Relief(width * 0.2, attic * 0.25, width * 0.5, attic * 0.5, trim, int(rng.integers(8, 20)))
    upper = Box(0, 0.6, width - 1.0, depth - 1.2, attic, tall)
    solids.append(
        mason.box(upper, wall, [text, Band(attic - 0.6, 0.6, trim)], [Band(attic - 0.6, 0.6, trim)])
    )
    crown = pick(rng, ("chariot", "roof", "flat", "dome"))
    if crown == "chariot":
        group = Box(0, depth / 2, width * 0.3, 0.2, 4.5, tall + attic)
        bronze = Material(pick(rng, ((84, 120, 104), (92, 80, 64), (206, 168, 74))), 0, 0)
        solids.append(mason.box(group, bronze, [Outline(_chariot(group.width, group.height))])[:1])
    elif crown == "roof":
        solids.append(mason.hip_roof(upper, between(rng, 2.5, 5), varied_material(rng, ROOFS), eaves=1.0))
    elif crown == "dome":
        solids.append(
            mason.turned(0, upper.top, depth / 2, dome(depth * 0.5, depth * 0.5), varied_material(rng, ROOFS))
        )
    return solids


def step_pyramid(rng: Rng, mason: Mason) -> list[Solid]:
    """Terraces that grow smaller, a stairway up the front and a shrine on top."""
    wall, trim = varied_material(rng, WALLS), varied_material(rng, WALLS).colour
    steps, width = int(rng.integers(3, 9)), between(rng, 28, 42)
    tall, top = between(rng, 1.8, 4.2), between(rng, 0.25, 0.45)
    inset = width * (1 - top) / 2 / steps
    stair = width * between(rng, 0.12, 0.2)
    pattern = pick(rng, ("plain", "niches", "bands", "windows"))
    solids: list[Solid] = []
    for step in range(steps):
        span = width - 2 * step * inset
        face: list[Ornament] = []
        if pattern == "niches":
            face.append(Relief(0.5, tall * 0.2, span - 1, tall * 0.55, wall.colour, round(span / 2)))
        elif pattern == "bands":
            face.append(Band(tall * 0.55, tall * 0.3, trim))
        elif pattern == "windows":
            face.append(
                Windows(
                    0.5, tall * 0.25, span - 1, max(3, round(span / 3)), 1.0, tall * 0.5, "flat", trim, (1, 1)
                )
            )
        flight: list[Ornament] = [_Flight(span / 2, stair, tall, trim)]
        solids.append(
            mason.box(Box(0, step * inset, span, span, tall, step * tall), wall, [*face, *flight], face)
        )
    z, y, span = steps * inset, steps * tall, width * top
    shrine = Box(0, z + span * 0.1, span * 0.75, span * 0.7, between(rng, 4, 7), y)
    door = Recess(
        shrine.width / 2,
        shrine.width * 0.25,
        shrine.height * 0.65,
        pick(rng, OPENINGS),
        scaled(wall.colour, 0.8),
        trim,
        through=False,
    )
    solids.append(
        mason.box(
            shrine, wall, [door, Band(shrine.height - 1, 0.8, trim)], [Band(shrine.height - 1, 0.8, trim)]
        )
    )
    if chance(rng, 0.6):
        solids.append(
            mason.hip_roof(
                shrine, between(rng, 3, 8), varied_material(rng, ROOFS), eaves=between(rng, 0, 1.2)
            )
        )
    return solids


class _Flight:
    """A stairway drawn up one terrace."""

    def __init__(self, x: float, width: float, height: float, colour: Colour) -> None:
        self._x, self._width, self._height, self._colour = x, width, height, colour

    def paint(self, wall: Wall, lit: bool, rng: Rng) -> None:
        del lit, rng
        left = self._x - self._width / 2
        wall.rectangle(left - 0.6, 0, self._width + 1.2, self._height, scaled(self._colour, 0.8))
        count = 6
        for step in range(count):
            y = self._height * step / count
            wall.rectangle(left, y, self._width, self._height / count * 0.6, scaled(self._colour, 1.1))


def round_tower(rng: Rng, mason: Mason) -> list[Solid]:
    """Rings of arcades or windows, slender as a lighthouse or broad as an arena."""
    wall, trim, roof = varied_material(rng, WALLS), pick(rng, TRIMS), varied_material(rng, ROOFS)
    broad = chance(rng, 0.35)
    radius = between(rng, 14, 20) if broad else between(rng, 4, 7)
    rings = int(rng.integers(2, 5)) if broad else int(rng.integers(4, 9))
    storey, taper = between(rng, 4.0, 5.5), 1.0 if broad else between(rng, 0.93, 1.0)
    fabric, kind = pick(rng, ("arcade", "windows", "stripes")), pick(rng, ARCHES)
    second = varied_material(rng, WALLS)
    solids: list[Solid] = []
    y, r, centre = 0.0, radius, radius
    for ring in range(rings):
        count = max(5, round(r * 1.6 if broad else r * 1.4))
        material = second if fabric == "stripes" and ring % 2 else wall
        face: list[Ornament] = [Band(storey - 0.6, 0.6, trim)]
        face += _bays(r, storey, count, kind, trim, material, columns=fabric == "arcade")
        solids.append(mason.turned(0, y, centre, drum(r, storey, r * taper), material, face))
        y, r = y + storey, r * taper
    crown = pick(rng, ("dome", "cone", "lantern", "battlements"))
    if crown == "dome":
        solids.append(mason.turned(0, y, centre, dome(r * 0.95, r * between(rng, 0.35, 0.9)), roof))
    elif crown == "cone":
        solids.append(mason.turned(0, y, centre, spire(r * 1.08, r * between(rng, 0.5, 1.6)), roof))
    elif crown == "battlements":
        solids.append(
            mason.turned(0, y, centre, drum(r * 1.05, 2.2), wall, [Battlements(1.1, 9 if broad else 4)])
        )
    else:
        inner = r * 0.55
        solids.append(
            mason.turned(
                0, y, centre, drum(inner, 4.0), wall, _bays(inner, 4.0, 5, "round", trim, wall, columns=False)
            )
        )
        solids.append(mason.turned(0, y + 4.0, centre, dome(inner, inner * 1.1, 1.1), roof))
    return solids


def lattice_tower(rng: Rng, mason: Mason) -> list[Solid]:
    """An iron tower with platforms, a gate of pillars and beams, or a monument column."""
    iron = Material(
        pick(rng, ((112, 84, 64), (150, 60, 48), (96, 104, 112), (206, 200, 190), (70, 96, 84))), 0, 0
    )
    width, tall, platforms = between(rng, 16, 24), between(rng, 40, 60), int(rng.integers(1, 4))
    power, pitch = between(rng, 1.4, 2.6), between(rng, 2.0, 4.0)
    outline = _flare(width, tall, power)
    arch: Point = (width * between(rng, 0.25, 0.34), tall * between(rng, 0.1, 0.18))
    front: list[Ornament] = [Lattice(pitch, 0.3, scaled(iron.colour, 1.12)), Outline(outline)]
    dark = scaled(iron.colour, 0.55)
    base = Box(0, width * 0.45, width, 0.3, tall)
    legs = [*front, Recess(width / 2, arch[0] * 2, arch[1] * 1.1, "round", dark, iron.colour)]
    solids: list[Solid] = [mason.box(base, Material(dark, 0, 0), [*legs, Outline(outline)])[:1]]
    for level in range(platforms):
        share = (level + 1) * 0.25 - 0.05
        span = width * (1 - share) ** power + 2.5
        deck = Box(0, width * 0.4 - span * 0.2, span, span * 0.5, 1.6, tall * share)
        solids.append(mason.box(deck, iron, [Band(0.4, 0.4, scaled(iron.colour, 1.2))], ()))
    mast = spire(0.7, between(rng, 6, 12))
    return [*solids, mason.turned(0, tall * 0.97, width * 0.45, mast, iron)]


def _bays(
    radius: float, height: float, count: int, kind: Opening, trim: Colour, wall: Material, columns: bool
) -> list[Ornament]:
    """Equal bays around a drum, foreshortened towards its rim."""
    import math

    ornaments: list[Ornament] = []
    for index in range(count):
        turn = -math.pi / 2 + math.pi * (index + 0.5) / count
        width = math.pi * radius / count * 0.62 * math.cos(turn)
        x = radius * (1 + math.sin(turn))
        frame = scaled(wall.colour, 1.1) if columns else trim
        ornaments.append(
            Windows(
                x - width,
                height * 0.14,
                2 * width,
                1,
                width,
                height * 0.62,
                kind,
                frame,
                (1, 1),
                surround=width * 0.16,
            )
        )
        if columns:
            edge = -math.pi / 2 + math.pi * index / count
            place = radius * (1 + math.sin(edge))
            ornaments.append(
                Colonnade(place, 0, 0.1, height * 0.86, 1, 0.5 * max(0.25, math.cos(edge)), trim)
            )
    return ornaments


def _chariot(width: float, height: float) -> tuple[Point, ...]:
    """Outline of horses before a standing figure."""
    shares = (
        (0.0, 0.0), (0.05, 0.35), (0.0, 0.6), (0.1, 0.7), (0.16, 0.5), (0.3, 0.52), (0.33, 0.75), (0.41, 0.8),
        (0.45, 1.0), (0.55, 1.0), (0.59, 0.8), (0.67, 0.75), (0.7, 0.52), (0.84, 0.5), (0.9, 0.7), (1.0, 0.6),
        (0.95, 0.35), (1.0, 0.0),
    )  # fmt: skip
    return tuple((x * width, y * height) for x, y in shares)


def _flare(width: float, height: float, power: float) -> tuple[Point, ...]:
    """Outline of a tower that narrows quickly, then slowly."""
    shares = [step / 12 for step in range(13)]
    left = [(width / 2 * (1 - max(0.04, (1 - share) ** power)), height * share) for share in shares]
    return (*left, *((width - x, y) for x, y in reversed(left)))
