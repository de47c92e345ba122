"""A random choice from a set too large to be read whole: only the images that are asked for are opened.

In: the list of a public training set, |D|, a seed. Out: an inventory that holds enough images for the plan,
from the beginning of the seed's draw.

The draw is by file name, which is known before a file is read and in such a set names one image for good.
So it is the same for everyone, whatever part of the set lies on a disk, and nested: 4,000 begin with the
2,000. A file that cannot be bought is named, and the next of the draw takes its place.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shared.images import ImageLimits
from student_trainer.acquire import near_duplicates
from student_trainer.acquire.plan import NOTHING, Inventory, take_stock
from student_trainer.acquire.records import PlanFacts
from student_trainer.acquire.selection.choice import place_in_draw
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.datasets.manifest import Entry
from student_trainer.run_folder import RunFolder


def sample(
    run: Path,
    entries: Sequence[Entry],
    n: int,
    facts: PlanFacts,
    *,
    limits: ImageLimits,
    on_listed: Callable[[int], None] = lambda files: None,
    on_looked: Callable[[], None] = lambda: None,
) -> Inventory:
    """Read images in the order of the draw until ``n`` of them can be chosen, or all were read.

    What the run folder holds already, or asked for, is read first, wherever the draw has it.

    Args:
        run: the run folder, which need not exist.
        entries: photographs whose file names differ; a name that is listed again is passed over.
        n: how many images there are to be.
        facts: how they will be chosen.
        limits: what can be bought.
        on_listed: called with a number of files before they are opened.
        on_looked: called for each file that was opened.

    Raises:
        InvalidInput, StorageFailed: the run folder holds a transfer set that cannot be read.
    """
    earlier = _earlier(RunFolder(run).transfer_set)
    drawn = _drawn(entries, facts.seed)
    owed = [entry for entry in drawn if entry.path.name in earlier.names]
    waiting = [entry for entry in drawn if entry.path.name not in earlier.names]
    on_listed(len(owed))
    inventory = take_stock(owed, limits, on_looked, NOTHING)
    while waiting and (short := n - _usable(inventory, earlier, facts)) > 0:
        following, waiting = waiting[:short], waiting[short:]
        on_listed(len(following))
        inventory = take_stock(following, limits, on_looked, inventory)
    return replace(inventory, listed=len(drawn), unread=len(waiting))


@dataclass(frozen=True)
class _Earlier:
    """What an earlier plan left that a new one has to know."""

    names: Collection[str] = ()
    """Of the files that are bought or asked for."""
    paid: Collection[str] = ()
    """Their digests."""
    refused: Collection[str] = ()
    """Digests of what the teacher refused."""


def _earlier(path: Path) -> _Earlier:
    if not path.exists():
        return _Earlier()
    with TransferSet.open(path) as transfer_set:
        committed = transfer_set.committed_digests()
        images = [image for image in transfer_set.chosen() if image.digest in committed]
        return _Earlier(
            {image.path.name for image in images},
            {image.digest for image in images},
            transfer_set.refused_digests(),
        )


def _drawn(entries: Sequence[Entry], seed: int) -> list[Entry]:
    by_name = {entry.path.name: entry for entry in reversed(entries)}  # of equal names the first stays
    return [by_name[name] for name in sorted(by_name, key=lambda name: place_in_draw(seed, name))]


def _usable(inventory: Inventory, earlier: _Earlier, facts: PlanFacts) -> int:
    """How many of the images that were read a plan can choose."""
    out = set(earlier.refused)
    if facts.dropped_near_duplicates:
        near = near_duplicates.find(inventory.candidates, inventory.fingerprints, keep=earlier.paid)
        out |= {image.digest for image in near}
    return sum(image.digest not in out for image in inventory.candidates)
