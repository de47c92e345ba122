"""Which of the candidates to spend the budget on: strategies by name.

In: candidates, what is chosen already, how many more, and a seed. Out: the additional choice, in order.
A strategy is a pure function, so that planning again gives the same choice whatever the file system.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from shared.digest import sha256_hex
from student_trainer.acquire.records import PlannedImage
from student_trainer.errors import InvalidInput

Strategy: TypeAlias = Callable[
    [Sequence[PlannedImage], Sequence[PlannedImage], int, int], Sequence[PlannedImage]
]
"""(candidates that are free, images chosen before, number to add, seed) -> images to add, in order."""


def random_choice(
    free: Sequence[PlannedImage], chosen: Sequence[PlannedImage], n: int, seed: int
) -> list[PlannedImage]:
    """A uniform choice without replacement.

    Images are ranked by SHA-256 of seed and image digest. So the choice depends on the images' bytes
    alone, not on their names or order, the choice of 500 begins with the choice of 250, and it is the
    same with every version of every library.
    """
    return sorted(free, key=lambda image: sha256_hex(f"{seed}:{image.digest}".encode()))[:n]


STRATEGIES: dict[str, Strategy] = {"random": random_choice}


def check_wish(strategy: str, n: int) -> None:
    """Refuse what no candidates can fulfil.

    Raises:
        InvalidInput: an unknown strategy, or less than one image.
    """
    if n < 1:
        raise InvalidInput(f"--queries must be at least 1, got {n}.")
    if strategy not in STRATEGIES:
        raise InvalidInput(
            f"There is no strategy {strategy!r}; choose from: {', '.join(sorted(STRATEGIES))}."
        )


def choose(
    strategy: str,
    candidates: Sequence[PlannedImage],
    n: int,
    seed: int,
    chosen: Sequence[PlannedImage] = (),
) -> list[PlannedImage]:
    """The images to add to ``chosen`` so that there are ``n`` in all, in the order of choice.

    Args:
        strategy: a name of :data:`STRATEGIES`.
        candidates: distinct images; those in ``chosen`` are passed over.
        n: how many there are to be, those of ``chosen`` included.
        seed: for strategies that draw.
        chosen: what is chosen already.

    Raises:
        InvalidInput: an unknown strategy, less than one image, or too few candidates.
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
    return list(STRATEGIES[strategy](free, chosen, wanted, seed))
