"""What makes a measured row doubtful: a training that learned nothing, images that do not fit tau.

In: a line of a table with its cells. Out: sentences, as a training itself would have warned.
"""

from collections.abc import Iterator
from statistics import fmean

from student_trainer.distil.preflight import NEARLY_ALL
from student_trainer.reproduce.results import LineResult
from student_trainer.trials.records import Cell

_LOSSES = ("first loss", "last loss", "highest loss")
"""Facts of a cell; the first records lack the last."""
_MOST = 0.5
"""Of the images."""


def learned_nothing(line: LineResult) -> list[Cell]:
    """Cells whose loss was 0 throughout: every ranking was perfect, and no step taught anything."""
    return [cell for cell in line.cells if _without_loss(cell)]


def doubts(line: LineResult) -> Iterator[str]:
    """Everything that a reader of the line should know before believing it."""
    if idle := learned_nothing(line):
        seeds = "" if len(idle) == len(line.cells) else f" with {len(idle)} of {len(line.cells)} seeds"
        yield f"learned nothing{seeds}: the loss was 0 throughout"
    tau, alone = _mean(line, "tau"), _mean(line, "alone")
    if tau is None:
        return
    if alone is not None and alone > _MOST:
        yield f"{alone:.0%} of its images have no other above tau = {tau:g}: nothing is to be ranked first"
    if any(_crowded(cell) for cell in line.cells):
        yield f"most of its images have nearly all others above tau = {tau:g}: few are to be ranked last"


def _without_loss(cell: Cell) -> bool:
    losses = [cell.facts[name] for name in _LOSSES if name in cell.facts]
    return bool(losses) and max(losses) == 0.0


def _crowded(cell: Cell) -> bool:
    """By the share of such images; in the first records, which lack it, by the mean."""
    if "crowded" in cell.facts:
        return cell.facts["crowded"] > _MOST
    return cell.facts.get("neighbours", 0.0) >= NEARLY_ALL * max(1, cell.images - 1)


def _mean(line: LineResult, fact: str) -> float | None:
    known = [cell.facts[fact] for cell in line.cells if fact in cell.facts]
    return fmean(known) if known else None
