"""Choose what to spend the budget on: look at every file, set aside what cannot be bought, draw |D| images.

In: the entries of a folder or manifest, the service's limits, |D| and a seed. Out: an inventory and a
transfer set on disk. Spends nothing; what was bought, or asked for, stays in the transfer set.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from shared.digest import sha256_hex
from shared.images import FORMATS, PIXELS_CEILING, ImageLimits, InvalidImage, admit, decode, read_file
from shared.protocol import ModelLimits
from student_trainer.acquire.lock import exclusive
from student_trainer.acquire.manifest import Entry
from student_trainer.acquire.outbox import Outbox
from student_trainer.acquire.records import PlanFacts, PlannedImage
from student_trainer.acquire.selection import check_wish, choose
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.errors import InvalidInput, StorageFailed
from student_trainer.run_folder import RunFolder


@dataclass(frozen=True)
class Inventory:
    """What the listed files are."""

    listed: int
    candidates: list[PlannedImage]
    """Distinct readable images, each under the first path that it is listed by."""
    duplicates: dict[Path, Path]
    """File -> the earlier file with the same bytes."""
    skipped: dict[Path, str]
    """File -> why it cannot be bought."""


@dataclass(frozen=True)
class Choice:
    """What was, or would be, written."""

    chosen: list[PlannedImage]
    """All chosen images, in the order of choice."""
    added: list[PlannedImage]
    """Those that were not chosen before."""
    missing: list[PlannedImage]
    """Those whose descriptors are not held yet."""


def limits_of(model: ModelLimits) -> ImageLimits:
    """The part of a service's limits that concerns single images."""
    formats = tuple(name for name in FORMATS if name in model.formats)
    return ImageLimits(model.max_image_bytes, min(model.max_image_pixels, PIXELS_CEILING), formats or FORMATS)


def take_stock(
    entries: Sequence[Entry], limits: ImageLimits, on_looked: Callable[[], None] = lambda: None
) -> Inventory:
    """Read, admit and decode every file, several at a time, and find exact duplicates by their bytes.

    A file that cannot be read, is no image, is cut off or is over the limits is named and set aside here,
    so that no query is ever spent on it.
    """
    candidates: dict[str, PlannedImage] = {}
    duplicates: dict[Path, Path] = {}
    skipped: dict[Path, str] = {}
    for entry, looked in zip(entries, _look_at_all(entries, limits), strict=True):
        on_looked()
        if isinstance(looked, str):
            skipped[entry.path] = looked
        elif looked.digest not in candidates:
            candidates[looked.digest] = looked
        elif candidates[looked.digest].path != looked.path:
            duplicates[entry.path] = candidates[looked.digest].path
    return Inventory(len(entries), list(candidates.values()), duplicates, skipped)


def decide(run: Path, inventory: Inventory, n: int, facts: PlanFacts, *, dry_run: bool = False) -> Choice:
    """Choose ``n`` images and write the transfer set of the run folder, unless ``dry_run``.

    Raises:
        InvalidInput: too few images, a choice that would lose what may be paid for, or another program is
            at work on the run folder.
        StorageFailed: what is there cannot be read, or nothing could be written and what was there before
            is unchanged.
    """
    if dry_run:
        return _choice(RunFolder(run).transfer_set, inventory, n, facts)
    try:
        folder = RunFolder.create(run)
    except OSError as error:
        raise StorageFailed(f"The run folder {run} cannot be made: {error.strerror}.") from None
    with exclusive(folder):
        choice = _choice(folder.transfer_set, inventory, n, facts)
        _write(folder.transfer_set, inventory, choice, facts)
    return choice


def _choice(path: Path, inventory: Inventory, n: int, facts: PlanFacts) -> Choice:
    check_wish(facts.strategy, n)
    kept: list[PlannedImage] = []
    refused: set[str] = set()
    held: set[str] = set()
    if path.exists():
        with TransferSet.open(path) as existing:
            if _may_be_paid(existing):
                kept = _kept(existing, inventory, n, facts)
                refused, held = existing.refused_digests(), set(existing.delivered_by())
    usable = [image for image in inventory.candidates if image.digest not in refused]
    added = choose(facts.strategy, usable, n, facts.seed, kept)
    return Choice([*kept, *added], added, [image for image in [*kept, *added] if image.digest not in held])


def _write(path: Path, inventory: Inventory, choice: Choice, facts: PlanFacts) -> None:
    if path.exists():
        with TransferSet.open(path) as existing:
            if _may_be_paid(existing):
                existing.replan(facts, inventory.candidates, choice.chosen)
                return
    chosen = {image.digest for image in choice.chosen}
    others = [image for image in inventory.candidates if image.digest not in chosen]
    TransferSet.create(path, facts, choice.chosen, others)


def _may_be_paid(transfer_set: TransferSet) -> bool:
    """Something is held, or a request left whose answer never came."""
    return transfer_set.summary().bought > 0 or bool(Outbox(transfer_set).unanswered())


def _kept(existing: TransferSet, inventory: Inventory, n: int, facts: PlanFacts) -> list[PlannedImage]:
    """What a new plan keeps, in order: all that is held or asked for, and of the others the first."""
    before = existing.facts
    if (before.strategy, before.seed) != (facts.strategy, facts.seed):
        raise InvalidInput(
            f"Descriptors were bought for the choice '{before.strategy}' with seed {before.seed}; "
            f"'{facts.strategy}' with seed {facts.seed} would not keep them. Use the first, or another run "
            "folder."
        )
    listed = {image.digest for image in inventory.candidates}
    committed = existing.committed_digests()
    chosen = existing.chosen()
    lost = [image for image in chosen if image.digest in committed and image.digest not in listed]
    if lost:
        raise InvalidInput(
            f"{len(lost):,} images that were bought (or asked for) are not among the files listed now, "
            f"the first {lost[0].path}. List them too, or use another run folder; what is held is unchanged."
        )
    paid = {image.digest for image in chosen} & committed
    if n < len(paid):
        raise InvalidInput(
            f"{len(paid):,} images are bought or asked for, so a plan for {n:,} would lose some of them. "
            f"Give --queries {len(paid)} or more, or use another run folder for a smaller set."
        )
    unpaid = [image.digest for image in chosen if image.digest in listed - paid]
    keep = paid.union(unpaid[: n - len(paid)])
    return [image for image in chosen if image.digest in keep]


def _look_at_all(entries: Sequence[Entry], limits: ImageLimits) -> Iterator[PlannedImage | str]:
    """In order, decoded by several threads; an interrupt does not wait for what is queued."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield from pool.map(lambda entry: _look(entry.path, limits), entries)
    finally:
        pool.shutdown(cancel_futures=True)


def _look(path: Path, limits: ImageLimits) -> PlannedImage | str:
    """The image at ``path``, or why it cannot be bought."""
    try:
        str(path).encode("utf-8")
        data = read_file(path, limits)
        header = admit(data, limits)
        decode(data)
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    except OSError as error:
        return error.strerror or str(error)
    except InvalidImage as error:
        return str(error)
    return PlannedImage(
        sha256_hex(data), path.absolute(), header.format, len(data), header.width, header.height
    )
