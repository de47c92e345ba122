"""Curves for tests, made of numbers instead of trainings."""

from student_trainer.curve.document import Cell, Curve
from student_trainer.curve.verdict import judge
from student_trainer.trials.words import Words


def curve_of(by_size: dict[int, list[float]], before: float | None = 0.3) -> Curve:
    """A document with these qualities, one for each seed."""
    cells = [
        Cell(queries=size, seed=seed, quality=value, measures={"AP": value}, before=None, epochs=1, steps=1)
        for size, values in by_size.items()
        for seed, value in enumerate(values)
    ]
    return Curve(
        yardstick=Words(name="overlap@10", sentence="What it is.", images=20),
        subsets="Nested.",
        training="Equal epochs.",
        bought=max(by_size),
        cells=tuple(cells),
        before=before,
        teacher=None,
        verdict=judge({size: dict(enumerate(values)) for size, values in by_size.items()}, "overlap@10"),
        recipe="ab" * 32,
        transfer_set="cd" * 32,
    )
