"""The choice by name: candidates stand in the order that the seed draws, and a strategy chooses among them.

In: candidates, what is chosen already, how many there are to be, a seed, and for strategies that look at
images a way to describe them. Out: the additional choice, in order.

Images are drawn by the SHA-256 of seed and image digest. So a choice depends on the images' bytes alone, not
on their names or order, and the random choice is the same with every version of every library. Of a public
training set, whose file names are as distinct and fixed as digests, images are drawn by name instead: then
the draw is known before any image is read.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from shared.digest import sha256_hex
from shared.vectors import Float32Rows
from student_trainer.acquire.records import DrawnBy, PlannedImage
from student_trainer.acquire.selection.cluster import cluster
from student_trainer.acquire.selection.density import density
from student_trainer.acquire.selection.k_center import k_center
from student_trainer.acquire.selection.strategy import Method
from student_trainer.acquire.selection.uniform import uniform
from student_trainer.errors import InvalidInput

Describe: TypeAlias = Callable[[Sequence[PlannedImage]], Float32Rows]
"""Images -> their descriptors [n, d], of unit length, by a network that costs no query."""

RANDOM = "random"
METHODS: dict[str, Method] = {
    RANDOM: Method(uniform, looks=False, nested=True),
    "k-center": Method(k_center, looks=True, nested=True),
    "cluster": Method(cluster, looks=True, nested=False),
    "density": Method(density, looks=True, nested=True),
}


def check_wish(strategy: str, n: int) -> None:
    """Refuse what no candidates can fulfil.

    Raises:
        InvalidInput: an unknown strategy, or less than one image.
    """
    if n < 1:
        raise InvalidInput(f"--queries must be at least 1, got {n}.")
    if strategy not in METHODS:
        raise InvalidInput(f"There is no strategy {strategy!r}; choose from: {', '.join(METHODS)}.")


def choose(
    strategy: str,
    candidates: Sequence[PlannedImage],
    n: int,
    seed: int,
    *,
    chosen: Sequence[PlannedImage] = (),
    describe: Describe | None = None,
    drawn_by: DrawnBy = "digest",
) -> list[PlannedImage]:
    """The images to add to ``chosen`` so that there are ``n`` in all, in the order of choice.

    Args:
        strategy: a name of :data:`METHODS`.
        candidates: distinct images; those in ``chosen`` are passed over.
        n: how many there are to be, those of ``chosen`` included.
        seed: draws the order of the candidates.
        chosen: what is chosen already.
        describe: for strategies that look at images.
        drawn_by: what stands for an image in the draw.

    Raises:
        InvalidInput: an unknown strategy, less than one image, or too few candidates.
        ValueError: the strategy looks at images, and there is nothing to describe them with.
    """
    check_wish(strategy, n)
    taken = {image.digest for image in chosen}
    free = [image for image in candidates if image.digest not in taken]
    wanted = n - len(chosen)
    if wanted > len(free):
        raise InvalidInput(
            f"{n:,} queries were asked for, but there are only {len(free) + len(chosen):,} distinct "
            "readable images to spend them on. Add images, or ask for fewer."
        )
    method = METHODS[strategy]
    drawn = sorted([*free, *chosen], key=lambda image: place_in_draw(seed, _name(image, drawn_by)))
    place = {image.digest: index for index, image in enumerate(drawn)}
    rows = _rows(drawn, describe) if method.looks else np.empty((len(drawn), 0), dtype=np.float32)
    added = method.strategy(rows, [place[image.digest] for image in chosen], wanted)
    return [drawn[index] for index in added]


def place_in_draw(seed: int, name: str) -> str:
    """Images are drawn in the ascending order of these."""
    return sha256_hex(f"{seed}:{name}".encode())


def _name(image: PlannedImage, drawn_by: DrawnBy) -> str:
    return image.digest if drawn_by == "digest" else image.path.name


def _rows(drawn: Sequence[PlannedImage], describe: Describe | None) -> Float32Rows:
    if describe is None:
        raise ValueError("This strategy looks at images: give a way to describe them.")
    return describe(drawn)
