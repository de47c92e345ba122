"""Cathedrals, temples, mausoleums, churches with onion domes, pagodas and stupas.

In: a random generator, and the mason who paints. Out: the solids of one building. Lengths are metres.
"""

import numpy as np

from student_trainer.demo.scenery.ornaments import (
    Band,
    Battlements,
    Colonnade,
    Ornament,
    Portal,
    Recess,
    Relief,
    Rose,
    Windows,
)
from student_trainer.demo.scenery.palette import (
    ROOFS,
    TRIMS,
    WALLS,
    Material,
    Rng,
    between,
    chance,
    pick,
    scaled,
    varied_material,
)
from student_trainer.demo.scenery.solids import Box, Mason, Solid, dome, drum, spire
from student_trainer.demo.scenery.wall import Opening

GOTHIC: tuple[Opening, ...] = ("pointed", "pointed", "round")
ROUNDED: tuple[Opening, ...] = ("round", "horseshoe")
PLAIN: tuple[Opening, ...] = ("flat", "round", "pointed")
DOORS = ((84, 56, 40), (60, 40, 36), (44, 66, 56), (110, 70, 44))


def cathedral(rng: Rng, mason: Mason) -> list[Solid]:
    """A nave with a gable, one or two towers with spires or battlements, a rose window, portals."""
    wall, roof, trim = varied_material(rng, WALLS), varied_material(rng, ROOFS), pick(rng, TRIMS)
    kind = pick(rng, GOTHIC)
    nave = Box(0, 0, between(rng, 12, 17), between(rng, 22, 34), between(rng, 13, 19))
    side = (
        Windows(0.5, 3.5, nave.depth - 1, int(rng.integers(4, 8)), 1.7, nave.height * 0.5, kind, trim),
        Band(nave.height - 1, 0.6, trim),
    )
    front: list[Ornament] = [
        Portal(0.5 * nave.width, 3.2, between(rng, 4.5, 6.5), kind, pick(rng, DOORS), trim, 3),
        Band(between(rng, 7.2, 8.2), 0.5, trim),
    ]
    if chance(rng, 0.7):
        petals = int(rng.integers(6, 13))
        front.append(
            Rose(nave.width / 2, nave.height * 0.72, between(rng, 2.0, 3.0), petals, trim, (60, 72, 120))
        )
    else:
        front.append(Windows(2, 8.6, nave.width - 4, 3, 1.8, nave.height - 10.5, kind, trim))
    if chance(rng, 0.5):
        front.append(
            Windows(1, nave.height - 2.6, nave.width - 2, int(rng.integers(6, 12)), 0.6, 1.5, kind, trim)
        )
    solids = [
        mason.box(nave, wall, front, side),
        mason.gable_roof(
            nave, between(rng, 5, 11), roof, wall, [Relief(nave.width / 2 - 1, 1.0, 2.0, 2.2, trim, 2)]
        ),
    ]
    slim, rise = between(rng, 5.0, 7.5), between(rng, 24, 38)
    levels = int(rng.integers(2, 5))
    storey: list[Ornament] = []
    for level in range(levels):
        y = 2 + level * (rise - 3) / levels
        storey += [
            Windows(0.6, y + 1, slim - 1.2, 1 + level % 2, 1.3, (rise - 3) / levels * 0.6, kind, trim),
            Band(y + (rise - 3) / levels - 0.5, 0.5, trim),
        ]
    crown, single = pick(rng, ("spire", "battlements", "helmet")), chance(rng, 0.35)
    offsets = (0.0,) if single else (-1.0, 1.0)
    uneven = chance(rng, 0.25)
    for offset in offsets:
        x = offset * (nave.width + slim) / 2
        height = rise * (0.8 if uneven and offset > 0 else 1.0)
        tower = Box(x, nave.depth * 0.4 if single else -0.8, slim, slim, height + (4 if single else 0))
        top: list[Ornament] = [Battlements(1.2, 3)] if crown == "battlements" else []
        solids.append(mason.box(tower, wall, [*storey, *top], [*storey, *top]))
        if crown == "spire":
            solids.append(mason.hip_roof(tower, between(rng, 11, 11.01) + rise * 0.25, roof))
        elif crown == "helmet":
            middle = tower.z + slim / 2
            solids.append(mason.turned(x, tower.top, middle, dome(slim * 0.45, slim * 0.8, 1.15), roof))
            solids.append(mason.turned(x, tower.top + slim * 0.8, middle, spire(0.6, 3.5), roof))
    return solids


def temple(rng: Rng, mason: Mason) -> list[Solid]:
    """Columns under a pediment on steps; some with a dome behind."""
    wall, roof = varied_material(rng, WALLS), varied_material(rng, ROOFS)
    width, depth, tall = between(rng, 20, 34), between(rng, 16, 30), between(rng, 9, 14)
    steps = int(rng.integers(1, 4))
    solids = []
    for step in range(steps):
        grow = (steps - step) * 1.0
        solids.append(mason.box(Box(0, -grow, width + 2 * grow, depth + 2 * grow, 0.5, step * 0.5), wall, ()))
    base = steps * 0.5
    count = int(pick(rng, (4, 6, 6, 8, 10)))
    shaft, shadow = scaled(wall.colour, 1.06), scaled(wall.colour, 0.42)
    entablature = between(rng, 1.4, 2.4)
    arcade: Opening | None = "round" if chance(rng, 0.2) else None
    front: list[Ornament] = [
        Colonnade(
            0.9, 0, width - 1.8, tall - entablature, count, between(rng, 1.1, 1.6), shaft, shadow, arcade
        ),
        Band(tall - entablature, entablature, shaft, dentils=chance(rng, 0.6)),
        Relief(
            1,
            tall - entablature * 0.75,
            width - 2,
            entablature * 0.45,
            wall.colour,
            int(rng.integers(10, 26)),
        ),
    ]
    around: Ornament = Colonnade(
        0.9, 0, depth - 1.8, tall - entablature, max(3, round(depth / width * count)), 1.2, shaft, shadow
    )
    plain: Ornament = Windows(1, 2, depth - 2, 4, 1.6, tall * 0.45, "flat", shaft)
    body = Box(0, 0, width, depth, tall, base)
    side = around if chance(rng, 0.6) else plain
    flank: list[Ornament] = [side, Band(tall - entablature, entablature, shaft)]
    solids.append(mason.box(body, wall, front, flank))
    rise = between(rng, 3.0, 6.5)
    pediment = Relief(width * 0.28, 0.4, width * 0.44, rise * 0.45, wall.colour, int(rng.integers(5, 12)))
    if chance(rng, 0.75):
        solids.append(mason.gable_roof(body, rise, roof, wall, [Band(0, 0.5, shaft, False), pediment]))
    if chance(rng, 0.4):
        radius, z = width * between(rng, 0.2, 0.3), depth * 0.6
        rotunda = _ring_of_windows(radius, 1.0, 2.6, 5, "round", shaft)
        solids.append(
            mason.turned(0, body.top, z, drum(radius, 5.0), wall, [*rotunda, Band(4.4, 0.6, shaft)])
        )
        solids.append(mason.turned(0, body.top + 5.0, z, dome(radius * 0.97, radius * 0.95), roof))
        solids.append(mason.turned(0, body.top + 5.0 + radius * 0.93, z, drum(radius * 0.16, 3.0, 0.1), wall))
    return solids


def mausoleum(rng: Rng, mason: Mason) -> list[Solid]:
    """A great dome over a cube with tall niches, small domes and minarets."""
    wall, trim, cap = varied_material(rng, WALLS), pick(rng, TRIMS), varied_material(rng, (*ROOFS, *WALLS))
    kind: Opening = pick(rng, ("pointed", "horseshoe", "round"))
    width, tall = between(rng, 20, 30), between(rng, 12, 18)
    body = Box(0, 0, width, width * 0.85, tall, 1.5)
    middle, niche = width / 2, between(rng, 0.26, 0.36) * width
    shade = scaled(wall.colour, 0.85)
    flank = (width - niche) / 2
    front: list[Ornament] = [Recess(middle, niche, tall * 0.82, kind, shade, trim, through=False)]
    for level in range(2):
        y = tall * (0.1 + 0.42 * level)
        for left in (0.6, middle + niche / 2 + 0.6):
            count = 1 if flank < 7 else 2
            front.append(
                Windows(
                    left, y, flank - 1.2, count, flank * 0.36 / count + 0.7, tall * 0.3, kind, trim, (1, 1)
                )
            )
    front.append(Band(tall - 1.0, 0.5, trim, dentils=chance(rng, 0.4)))
    side = [
        Windows(0.6, tall * (0.1 + 0.42 * level), width * 0.85 - 1.2, 4, 2.4, tall * 0.3, kind, trim, (1, 1))
        for level in range(2)
    ]
    solids = [
        mason.box(Box(0, -3, width + 8, width * 0.85 + 6, 1.5), wall, ()),
        mason.box(body, wall, front, side),
    ]
    radius, bulge = width * between(rng, 0.22, 0.33), pick(rng, (1.0, 1.12, 1.22))
    centre, neck = width * 0.42, between(rng, 2.0, 5.0)
    solids.append(
        mason.turned(0, body.top, centre, drum(radius * 0.92, neck), wall, [Band(neck - 0.7, 0.5, trim)])
    )
    height = radius * between(rng, 1.1, 1.6)
    solids.append(mason.turned(0, body.top + neck, centre, dome(radius, height, bulge), cap))
    solids.append(mason.turned(0, body.top + neck + height * 0.96, centre, spire(0.5, 4.0), ROOFS[4]))
    if chance(rng, 0.6):
        for x in (-width * 0.36, width * 0.36):
            small = radius * 0.36
            solids.append(mason.turned(x, body.top, width * 0.2, drum(small * 0.8, 2.4), wall))
            solids.append(mason.turned(x, body.top + 2.4, width * 0.2, dome(small, small * 1.3, bulge), cap))
    for x in pick(rng, ((), (-1.0, 1.0), (-1.0, 1.0), (1.0,))):
        solids += _minaret(rng, mason, x * (width / 2 + 3.2), -1.0, tall * between(rng, 1.6, 1.9))
    return solids


def onion_church(rng: Rng, mason: Mason) -> list[Solid]:
    """A tall white or coloured body under three or five onion domes on drums."""
    wall, trim = varied_material(rng, WALLS), pick(rng, TRIMS)
    caps = [varied_material(rng, ROOFS) for _ in range(2)]
    width, tall, kind = between(rng, 14, 20), between(rng, 12, 18), pick(rng, ROUNDED)
    body, bays = Box(0, 0, width, width, tall, 0.6), int(rng.integers(3, 5))
    row: list[Ornament] = [
        Colonnade(0.5, 0.5, width - 1, tall - 2, bays + 1, 0.8, scaled(trim, 1.0)),
        Windows(0.5, tall * 0.5, width - 1, bays, 1.0, tall * 0.28, "round", trim, (1, 2)),
        Windows(0.5, tall * 0.84, width - 1, bays, width / bays * 0.7, tall * 0.1, "round", trim, (1, 1)),
        Band(tall * 0.45, 0.4, trim),
        Band(tall - 0.6, 0.5, trim),
    ]
    door = Portal(width / 2, 2.4, 4.2, kind, pick(rng, DOORS), trim, 3)
    solids = [mason.box(body, wall, [*row, door], row)]
    radius = width * between(rng, 0.14, 0.19)
    grand = between(rng, 1.2, 1.5)
    places = [(0.0, 0.5, grand)]
    places += [(x, z, 1.0) for x in (-0.32, 0.32) for z in ((0.2, 0.8) if chance(rng, 0.6) else (0.5,))]
    for index, (x, z, size) in enumerate(places):
        r, neck = radius * size, between(rng, 3.2, 3.3) * size * 1.5
        column = _ring_of_windows(r * 0.8, 1.0, neck * 0.55, 3, "round", trim)
        spot = (x * width, z * width)
        solids.append(
            mason.turned(
                spot[0], body.top, spot[1], drum(r * 0.8, neck), wall, [*column, Band(neck - 0.6, 0.4, trim)]
            )
        )
        cap = caps[0] if index == 0 else caps[1]
        solids.append(mason.turned(spot[0], body.top + neck, spot[1], dome(r, r * 1.9, 1.3), cap))
        solids.append(mason.turned(spot[0], body.top + neck + r * 1.85, spot[1], drum(0.16, 2.4), ROOFS[4]))
    if chance(rng, 0.5):
        solids += _bell_tower(rng, mason, width * 0.95, caps[1])
    return solids


def pagoda(rng: Rng, mason: Mason) -> list[Solid]:
    """Storeys that grow smaller upwards, each under its own wide roof."""
    wall, roof = varied_material(rng, WALLS), varied_material(rng, ROOFS)
    trim, post = pick(rng, TRIMS), pick(rng, ((150, 52, 44), (90, 60, 44), (200, 180, 150)))
    tiers, width, shrink = int(rng.integers(3, 8)), between(rng, 11, 18), between(rng, 0.8, 0.92)
    storey, eaves = between(rng, 3.0, 4.6), between(rng, 1.2, 2.6)
    solids = [mason.box(Box(0, -2, width + 4, width + 4, 1.2), varied_material(rng, WALLS), ())]
    y, kind = 1.2, pick(rng, PLAIN)
    for tier in range(tiers):
        span, tall = width * shrink**tier, storey * (1.25 if tier == 0 else 0.97**tier)
        box = Box(0, (width - span) / 2, span, span, tall, y)
        bays = int(max(2, 5 - tier // 2))
        row = (
            Windows(0.4, tall * 0.22, span - 0.8, bays, span / bays * 0.55, tall * 0.5, kind, trim, (3, 2)),
            Colonnade(0.3, 0, span - 0.6, tall, bays + 1, 0.45, post),
        )
        solids.append(mason.box(box, wall, row, row))
        rise = storey * (0.55 if tier < tiers - 1 else 1.3)
        run = None if tier == tiers - 1 else span * (1 - shrink) / 2 + eaves
        solids.append(mason.hip_roof(box, rise, roof, run, eaves))
        y = box.top - eaves * 0.3 + rise * 0.9
    solids.append(
        mason.turned(0, y - 0.3, width / 2, [(0, 0.5), (1, 0.3), (1.4, 0.6), (2, 0.2), (5, 0.05)], ROOFS[4])
    )
    return solids


def stupa(rng: Rng, mason: Mason) -> list[Solid]:
    """A great dome on terraces, with a ringed spire; or the same scheme as an observatory."""
    wall, cap, trim = varied_material(rng, WALLS), varied_material(rng, (*WALLS, *ROOFS)), pick(rng, TRIMS)
    width, terraces = between(rng, 24, 34), int(rng.integers(1, 4))
    solids, y = [], 0.0
    for terrace in range(terraces):
        shrink = terrace * between(rng, 2.0, 3.0)
        tall, span = between(rng, 2.2, 4.0), width - 2 * shrink
        row: list[Ornament] = [
            Windows(
                0.5, tall * 0.2, span - 1, int(rng.integers(7, 14)), 1.2, tall * 0.5, "round", trim, (1, 1)
            ),
            Band(tall - 0.5, 0.4, trim),
        ]
        stairs = Portal(span / 2, 3.5, tall * 0.9, "flat", scaled(wall.colour, 0.7), trim, 1)
        solids.append(mason.box(Box(0, shrink, span, span, tall, y), wall, [*row, stairs], row))
        y += tall
    radius = width * between(rng, 0.28, 0.38)
    neck = between(rng, 0.5, 5.0)
    ring = _ring_of_windows(radius, 0.6, neck * 0.6, 6, "round", trim) if neck > 2.5 else []
    solids.append(
        mason.turned(0, y, width / 2, drum(radius, neck), wall, [*ring, Band(neck - 0.4, 0.4, trim)])
    )
    height = radius * between(rng, 0.75, 1.2)
    solids.append(
        mason.turned(0, y + neck, width / 2, dome(radius * 0.97, height, pick(rng, (1.0, 1.0, 1.1))), cap)
    )
    rings, y = int(rng.integers(4, 9)), y + neck + height * 0.94
    cone: list[tuple[float, float]] = []
    for level in range(rings):
        r = radius * 0.3 * (1 - level / rings)
        cone += [(level * 1.4, r), (level * 1.4 + 1.0, r), (level * 1.4 + 1.0, r * 0.7)]
    solids.append(mason.turned(0, y, width / 2, [*cone, (rings * 1.4 + 3, 0.1)], varied_material(rng, ROOFS)))
    return solids


def _ring_of_windows(
    radius: float, y: float, height: float, count: int, kind: Opening, frame: tuple[int, int, int]
) -> list[Ornament]:
    """Windows around a drum: they crowd and narrow towards its rim."""
    ornaments: list[Ornament] = []
    for turn in np.linspace(-1.2, 1.2, count):
        width = radius * 1.4 / count * float(np.cos(turn))
        x = radius * (1 + float(np.sin(turn)))
        ornaments.append(
            Windows(x - width, y, 2 * width, 1, width, height, kind, frame, (1, 1), surround=width * 0.12)
        )
    return ornaments


def _minaret(rng: Rng, mason: Mason, x: float, z: float, height: float) -> list[Solid]:
    wall, cap, radius = varied_material(rng, WALLS), varied_material(rng, ROOFS), between(rng, 1.0, 1.6)
    balconies = [Band(height * share, 0.7, scaled(wall.colour, 1.1)) for share in (0.34, 0.66)]
    return [
        mason.turned(x, 0, z, drum(radius, height, radius * 0.75), wall, balconies),
        mason.turned(x, height, z, drum(radius * 1.25, 0.8), wall),
        mason.turned(x, height + 0.8, z, dome(radius * 0.9, radius * 2.2, 1.15), cap),
    ]


def _bell_tower(rng: Rng, mason: Mason, x: float, cap: Material) -> list[Solid]:
    wall, trim, slim, height = varied_material(rng, WALLS), pick(rng, TRIMS), 5.0, between(rng, 20, 28)
    row = (
        Windows(0.5, height - 5.5, slim - 1, 1, 2.2, 4.0, "round", trim, (1, 1)),
        Windows(0.5, height * 0.4, slim - 1, 2, 0.9, 3.0, "round", trim, (1, 1)),
        Band(height * 0.68, 0.4, trim),
        Band(height - 0.6, 0.5, trim),
    )
    tower = Box(x, 2.0, slim, slim, height)
    middle = 2.0 + slim / 2
    return [
        mason.box(tower, wall, row, row),
        mason.turned(x, height, middle, dome(slim * 0.42, slim * 0.8, 1.2), cap),
        mason.turned(x, height + slim * 0.78, middle, drum(0.14, 2.0), ROOFS[4]),
    ]
