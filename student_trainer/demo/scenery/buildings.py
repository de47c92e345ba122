"""A building, and the architect who makes one from a random generator in a style.

In: a random generator. Out: solids in space, ready to be photographed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from student_trainer.demo.scenery import houses, monuments, sanctuaries
from student_trainer.demo.scenery.palette import Rng
from student_trainer.demo.scenery.solids import Face, Mason, Solid

Style: TypeAlias = Callable[[Rng, Mason], list[Solid]]

STYLES: dict[str, Style] = {
    "cathedral": sanctuaries.cathedral,
    "temple": sanctuaries.temple,
    "mausoleum": sanctuaries.mausoleum,
    "onion-church": sanctuaries.onion_church,
    "pagoda": sanctuaries.pagoda,
    "stupa": sanctuaries.stupa,
    "palace": houses.palace,
    "town-hall": houses.town_hall,
    "castle": houses.castle,
    "skyscraper": houses.skyscraper,
    "museum": houses.museum,
    "clock-tower": monuments.clock_tower,
    "triumphal-arch": monuments.triumphal_arch,
    "step-pyramid": monuments.step_pyramid,
    "round-tower": monuments.round_tower,
    "lattice-tower": monuments.lattice_tower,
}


@dataclass(frozen=True)
class Building:
    """A landmark: its solids, and the size in metres of the space that they fill."""

    style: str
    solids: tuple[Solid, ...]
    width: float
    height: float
    depth: float


def build(rng: Rng, style: str, sheet_px: int) -> Building:
    """Design and paint one building; its longest side measures about ``sheet_px`` on the painted sheets."""
    seed = int(rng.integers(2**32))
    extent = _measured(
        style, STYLES[style](np.random.default_rng(seed), Mason(np.random.default_rng(seed), 1.0))
    )
    scale = sheet_px / max(extent.width, extent.height)
    painted = STYLES[style](np.random.default_rng(seed), Mason(np.random.default_rng(seed), scale))
    return _measured(style, painted)


def _measured(style: str, solids: Sequence[Solid]) -> Building:
    points = []
    for solid in solids:
        for part in solid:
            if isinstance(part, Face):
                points.append(part.corners)
            else:
                reach = np.array((part.width / 2, 0.0, part.width / 2))
                points += [part.foot[None] - reach, part.foot[None] + reach + (0.0, part.height, 0.0)]
    corners = np.concatenate(points)
    size = corners.max(axis=0) - corners.min(axis=0)
    return Building(
        style, tuple(solids), float(size[0]), float(corners[:, 1].max()), float(corners[:, 2].max())
    )
