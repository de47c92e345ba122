"""Palaces, town halls, castles, skyscrapers and museums.

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
    Relief,
    Ribs,
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
    blended,
    chance,
    pick,
    scaled,
    varied,
    varied_material,
)
from student_trainer.demo.scenery.solids import Box, Mason, Solid, dome, drum, spire
from student_trainer.demo.scenery.wall import OPENINGS, Opening, Point

GLASSES: tuple[Colour, ...] = ((84, 120, 150), (90, 136, 128), (60, 76, 96), (136, 112, 84), (150, 168, 180))
DOORS: tuple[Colour, ...] = ((84, 56, 40), (60, 40, 36), (44, 66, 56), (36, 48, 76))


def palace(rng: Rng, mason: Mason) -> list[Solid]:
    """A long front with a projecting middle, wings and corner pavilions, under steep roofs or a dome."""
    wall, roof, trim = varied_material(rng, WALLS), varied_material(rng, ROOFS), pick(rng, TRIMS)
    storeys, floor = int(rng.integers(2, 5)), between(rng, 4.2, 5.2)
    tall, middle = storeys * floor + 1.2, between(rng, 11, 16)
    wing, depth = between(rng, 11, 18), between(rng, 10, 14)
    kinds = [pick(rng, OPENINGS) for _ in range(storeys)]
    shutters = pick(rng, TRIMS) if chance(rng, 0.25) else None

    def rows(width: float, pitch: float) -> list[Ornament]:
        ornaments: list[Ornament] = []
        for storey in range(storeys):
            y = storey * floor
            ornaments += [
                Windows(0.6, y + 1.1, width - 1.2, max(1, round(width / pitch)),
                        1.5, floor * 0.56, kinds[storey], trim,
                        (2, 3), shutters=shutters, balcony=storey == 1 and shutters is None),
                Band(y + floor, 0.35, trim),
            ]  # fmt: skip
        return [*ornaments, Band(tall - 0.8, 0.8, trim, dentils=True)]

    solids = []
    pitch = between(rng, 2.8, 4.2)
    for x in (-1, 1):
        flank = Box(x * (middle + wing) / 2, 2.5, wing, depth, tall)
        solids += [
            mason.box(flank, wall, rows(wing, pitch), rows(depth, pitch)),
            mason.hip_roof(flank, between(rng, 3, 3.01), roof, 3.0),
        ]
    height = tall + between(rng, 0.0, 4.0)
    front = [
        *rows(middle, pitch),
        Portal(middle / 2, 3.0, floor * 0.9, pick(rng, OPENINGS), pick(rng, DOORS), trim, 2),
    ]
    if chance(rng, 0.6):
        front.append(
            Colonnade(
                0.8,
                floor + 0.2,
                middle - 1.6,
                tall - floor - 1.5,
                int(rng.integers(4, 7)),
                0.9,
                scaled(trim, 1.05),
            )
        )
    centre = Box(0, 0, middle, depth + 3, height)
    solids.append(mason.box(centre, wall, front, rows(depth + 3, pitch)))
    crown = pick(rng, ("gable", "dome", "mansard", "dome"))
    if crown == "gable":
        relief = Relief(middle * 0.3, 0.4, middle * 0.4, 1.6, trim, 6)
        solids.append(mason.gable_roof(centre, between(rng, 3.5, 5.0), roof, wall, [relief]))
    elif crown == "mansard":
        solids.append(mason.hip_roof(centre, between(rng, 6, 10), roof, 2.2))
    else:
        radius = middle * between(rng, 0.3, 0.42)
        solids.append(
            mason.turned(
                0,
                height,
                depth / 2,
                drum(radius, 4.0),
                wall,
                [
                    Colonnade(0.2, 0, 2 * radius - 0.4, 3.4, 8, 0.5, trim, scaled(wall.colour, 0.5)),
                    Band(3.4, 0.6, trim),
                ],
            )
        )
        solids.append(
            mason.turned(0, height + 4, depth / 2, dome(radius, radius * between(rng, 0.9, 1.4)), roof)
        )
        solids.append(
            mason.turned(0, height + 4 + radius * 0.95, depth / 2, [(0, 1.0), (2.5, 1.0), (5, 0.1)], wall)
        )
    if chance(rng, 0.45):
        for x in (-1, 1):
            pavilion = Box(x * (middle / 2 + wing + 3), 0.8, 7.0, depth + 1, tall + 2.5)
            solids += [
                mason.box(pavilion, wall, rows(7.0, pitch), rows(depth + 1, pitch)),
                mason.hip_roof(pavilion, 6.0, roof),
            ]
    return solids


def town_hall(rng: Rng, mason: Mason) -> list[Solid]:
    """Gabled fronts over an arcade, with a belfry."""
    wall, roof, trim = varied_material(rng, WALLS), varied_material(rng, ROOFS), pick(rng, TRIMS)
    gables, storeys, floor = int(rng.integers(1, 4)), int(rng.integers(2, 5)), 3.8
    width, depth = between(rng, 9, 13), between(rng, 12, 18)
    tall, kind = storeys * floor + 1, pick(rng, OPENINGS)
    rows: list[Ornament] = []
    for storey in range(1, storeys):
        rows += [
            Windows(
                0.5, storey * floor + 0.8, width - 1, int(rng.integers(3, 6)), 1.2, 2.2, kind, trim, (2, 3)
            ),
            Band(storey * floor, 0.3, trim),
        ]
    arcade = Colonnade(
        0.5,
        0,
        width - 1,
        floor - 0.3,
        int(rng.integers(3, 6)),
        0.8,
        scaled(trim, 1.0),
        scaled(wall.colour, 0.35),
        pick(rng, ("round", "pointed", "segment")),
    )
    side = [Windows(0.5, s * floor + 0.8, depth - 1, 4, 1.2, 2.2, kind, trim, (2, 3)) for s in range(storeys)]
    shape, rise = pick(rng, ("stepped", "triangle", "bell")), between(rng, 6, 9)
    gable_row = Windows(width * 0.3, 1.0, width * 0.4, 2, 1.0, 1.8, kind, trim)
    solids: list[Solid] = []
    for index in range(gables):
        house = Box((index - (gables - 1) / 2) * width, 0, width, depth, tall)
        own = wall if index % 2 == 0 or chance(rng, 0.5) else varied_material(rng, WALLS)
        solids += [
            mason.box(house, own, [*rows, arcade], side),
            mason.gable_roof(house, rise * 0.92, roof, own),
        ]
        if shape != "triangle":
            sheet = Box(house.x, -0.05, width, 0.3, rise, tall)
            cut = Outline(_gable(shape, width, rise))
            solids.append(
                mason.box(sheet, own, [gable_row, cut], [Outline(((0, 0), (0, 0.1), (0.1, 0)))])[:1]
            )
    return [*solids, *_belfry(rng, mason, wall, roof, trim, gables * width, tall)]


def castle(rng: Rng, mason: Mason) -> list[Solid]:
    """Curtain walls and round towers with cones or battlements, a gate and perhaps a keep."""
    wall, roof, trim = varied_material(rng, WALLS), varied_material(rng, ROOFS), pick(rng, TRIMS)
    width, tall = between(rng, 20, 32), between(rng, 7, 12)
    slits = Windows(
        1,
        tall * 0.45,
        width - 2,
        int(rng.integers(4, 9)),
        0.6,
        1.8,
        pick(rng, ("flat", "round")),
        trim,
        (1, 1),
    )
    gate = Portal(
        width / 2, between(rng, 3.2, 4.6), tall * 0.6, pick(rng, ("round", "pointed")), (66, 46, 34), trim, 2
    )
    curtain = Box(0, 0, width, 18, tall)
    teeth = Battlements(1.2, round(width / 2.6))
    band = Band(tall - 2.4, 0.5, scaled(wall.colour, 1.08), dentils=True)
    solids = [mason.box(curtain, wall, [slits, band, gate, teeth], [band, Battlements(1.2, 7)])]
    cone, radius = chance(rng, 0.6), between(rng, 2.6, 4.0)
    spots = [(-width / 2, 0.0), (width / 2, 0.0)]
    if chance(rng, 0.5):
        spots += [(-4.6, -0.8), (4.6, -0.8)]
    for index, (x, z) in enumerate(spots):
        size = radius * (1.0 if index < 2 else 0.62)
        height = tall * between(rng, 1.35, 1.36) + (4.0 if index == 0 and chance(rng, 0.5) else 0.0)
        solids += _round_tower(mason, wall, roof, trim, (x, z, size, height), cone)
    if chance(rng, 0.7):
        side, high = between(rng, 8, 12), tall * between(rng, 1.7, 2.4)
        keep, rows = (
            Box(between(rng, -5, 5), 5, side, side, high),
            [
                Windows(0.6, high * share, side - 1.2, 3, 1.0, 2.4, "round", trim, (2, 1))
                for share in (0.55, 0.78)
            ],
        )
        solids.append(mason.box(keep, wall, [*rows, Battlements(1.2, 4)], [*rows, Battlements(1.2, 4)]))
        if cone:
            solids.append(mason.hip_roof(keep, between(rng, 5, 10), roof))
    return solids


def skyscraper(rng: Rng, mason: Mason) -> list[Solid]:
    """Set-back storeys, piers and glass, with a crown or a mast."""
    wall, glass, pier = varied_material(rng, WALLS), varied(rng, pick(rng, GLASSES)), pick(rng, TRIMS)
    width, stages = between(rng, 16, 24), int(rng.integers(1, 6))
    shrink, y, z = between(rng, 0.72, 0.9), 0.0, 0.0
    bay, floor, share = between(rng, 1.6, 3.4), between(rng, 2.6, 4.4), between(rng, 0.1, 0.5)
    fabric = pick(rng, ("ribs", "ribs", "bands", "lattice"))
    pier = wall.colour if chance(rng, 0.6) else pier
    solids: list[Solid] = []
    span, total = width, between(rng, 48, 75)
    for stage in range(stages):
        tall = total * (0.5 if stage == 0 and stages > 1 else 0.5 / max(1, stages - 1) if stages > 1 else 1.0)
        front: list[Ornament] = [Ribs(1.2, tall - 2, max(3, round(span / bay)), floor, pier, glass, share)]
        if fabric == "bands":
            front += [
                Band(level * floor * 2, floor * 0.7, pier, False) for level in range(1, int(tall / floor / 2))
            ]
        if fabric == "lattice":
            front.append(Lattice(span * 0.8, 0.7, pier))
        front.append(Band(tall - 1.4, 1.4, scaled(pier, 1.05)))
        solids.append(mason.box(Box(0, z, span, span, tall, y), wall, front, front))
        y, z, span = y + tall, z + span * (1 - shrink) / 2, span * shrink
    crown, top = pick(rng, ("mast", "pyramid", "dome", "flat")), Box(0, z, span, span, 0.1, y - 0.1)
    if crown == "pyramid":
        solids.append(mason.hip_roof(top, between(rng, 8, 18), varied_material(rng, ROOFS)))
    elif crown == "dome":
        solids.append(
            mason.turned(0, y, z + span / 2, dome(span * 0.45, span * 0.6), varied_material(rng, ROOFS))
        )
    if crown != "flat":
        solids.append(
            mason.turned(
                0,
                y + (8 if crown != "mast" else 0),
                z + span / 2,
                spire(0.8, between(rng, 10, 18)),
                Material((120, 122, 126), 0, 0),
            )
        )
    return solids


def museum(rng: Rng, mason: Mason) -> list[Solid]:
    """Modern slabs set on each other, in glass, concrete and coloured panels."""
    y, count = 0.0, int(rng.integers(2, 5))
    solids: list[Solid] = []
    for _ in range(count):
        wall, glass = varied_material(rng, WALLS), varied(rng, pick(rng, GLASSES))
        span, depth, tall = between(rng, 16, 34), between(rng, 12, 18), between(rng, 4, 9)
        box = Box(between(rng, -6, 6), between(rng, -2, 3), span, depth, tall, y)
        fabric = pick(rng, ("glass", "panels", "bands", "lattice", "arches"))
        solids.append(
            mason.box(
                box,
                wall,
                _slab_front(rng, fabric, span, tall, wall, glass),
                _slab_front(rng, fabric, depth, tall, wall, glass),
            )
        )
        y += tall
    if chance(rng, 0.4):
        radius = between(rng, 4, 7)
        solids.append(
            mason.turned(
                between(rng, -4, 4),
                y,
                7.0,
                dome(radius, radius * between(rng, 0.5, 1.1)),
                Material(varied(rng, pick(rng, GLASSES)), 1.2, 0.1),
            )
        )
    elif chance(rng, 0.5):
        wing = Box(between(rng, -5, 5), 2, between(rng, 10, 18), 10, 0.2, y)
        solids.append(
            mason.gable_roof(
                wing, between(rng, 4, 9), varied_material(rng, ROOFS), varied_material(rng, WALLS)
            )
        )
    return solids


def _slab_front(
    rng: Rng, fabric: str, span: float, tall: float, wall: Material, glass: Colour
) -> list[Ornament]:
    if fabric == "glass":
        return [Ribs(0.4, tall - 0.8, round(span / 1.8), tall / 2, scaled(wall.colour, 0.8), glass, 0.12)]
    if fabric == "bands":
        rows = max(1, int(tall / 2.2))
        return [
            Ribs(0.5 + row * 2.2, 1.5, round(span / 4), 1.9, blended(glass, wall.colour, 0.3), glass, 0.06)
            for row in range(rows)
        ]
    if fabric == "lattice":
        return [
            Ribs(0, tall, round(span / 2), tall / 2, glass, glass, 0.02),
            Lattice(tall / 2, 0.35, wall.colour),
        ]
    if fabric == "arches":
        return [
            Windows(
                0.5, 0.2, span - 1, max(3, round(span / 3)), 2.1, tall * 0.8, "round", wall.colour, (1, 1)
            )
        ]
    return [
        Relief(x, 0.5, 1.6, tall - 1, varied(rng, pick(rng, (glass, wall.colour)), 0.15), 1)
        for x in (0.4 + 2.0 * i for i in range(int((span - 1) / 2.0)))
    ]


def _round_tower(
    mason: Mason,
    wall: Material,
    roof: Material,
    trim: Colour,
    place: tuple[float, float, float, float],
    cone: bool,
) -> list[Solid]:
    x, z, radius, height = place
    slits: list[Ornament] = [
        Windows(radius * 0.6, height * share, radius * 0.8, 1, 0.6, 1.7, "round", trim, (1, 1))
        for share in (0.3, 0.6)
    ]
    head = radius * 1.14
    ring: list[Ornament] = [Band(0, 0.5, scaled(wall.colour, 1.08), dentils=True)]
    solids = [
        mason.turned(x, 0, z, drum(radius, height), wall, slits),
        mason.turned(x, height, z, drum(head, 2.2), wall, ring if cone else [*ring, Battlements(1.0, 4)]),
    ]
    if cone:
        solids.append(mason.turned(x, height + 2.2, z, spire(head * 1.12, radius * 2.4), roof))
    return solids


def _gable(shape: str, width: float, rise: float) -> tuple[Point, ...]:
    """Outline of a stepped or bell-shaped gable."""
    if shape == "stepped":
        left: list[Point] = []
        for step in range(5):
            x = width / 2 * step / 5
            left += [(x, rise * step / 5), (x, rise * (step + 1) / 5)]
    else:
        left = [
            (0, 0),
            (0, rise * 0.2),
            (width * 0.1, rise * 0.25),
            (width * 0.16, rise * 0.55),
            (width * 0.3, rise * 0.68),
            (width * 0.34, rise * 0.95),
            (width * 0.44, rise),
        ]
    return (*left, *((width - x, y) for x, y in reversed(left)))


def _belfry(
    rng: Rng, mason: Mason, wall: Material, roof: Material, trim: Colour, width: float, tall: float
) -> list[Solid]:
    if chance(rng, 0.25):
        return []
    slim, height = between(rng, 4.5, 6.5), tall * between(rng, 1.9, 2.8)
    kind: Opening = pick(rng, ("round", "pointed", "flat"))
    x = between(rng, -0.3, 0.3) * width if chance(rng, 0.5) else width / 2 + slim / 2
    rows: list[Ornament] = [
        Windows(0.4, height - 5.0, slim - 0.8, 2, 1.2, 3.4, kind, trim, (1, 1)),
        Clock(slim / 2, height - 7.4, 1.5, (240, 236, 220), trim, between(rng, 0, 12)),
        Windows(0.4, height * 0.5, slim - 0.8, 1, 1.0, 2.4, kind, trim),
        Band(height - 5.6, 0.4, trim),
        Band(height - 0.8, 0.8, trim, dentils=True),
    ]
    tower = Box(x, 1.5 if abs(x) > width / 2 else 5.0, slim, slim, height)
    solids = [mason.box(tower, wall, rows, rows)]
    if chance(rng, 0.5):
        return [*solids, mason.hip_roof(tower, between(rng, 6, 12), roof)]
    middle = tower.z + slim / 2
    return [
        *solids,
        mason.turned(x, height, middle, dome(slim * 0.5, slim * 0.7, 1.12), roof),
        mason.turned(x, height + slim * 0.68, middle, [(0, 0.9), (1.8, 0.9), (2.0, 1.1), (5.5, 0.05)], roof),
    ]
