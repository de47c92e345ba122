"""Choose what to spend the budget on: look at every file, set aside what cannot be bought, choose |D| images.

In: the entries of a folder or manifest, the service's limits, |D| and a seed. Out: an inventory and a
transfer set on disk. Spends nothing; what was bought, or asked for, stays in the transfer set.
"""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from shared.digest import sha256_hex
from shared.images import FORMATS, PIXELS_CEILING, ImageLimits, InvalidImage, admit, decode, read_file
from shared.protocol import ModelLimits
from student_trainer.acquire import near_duplicates
from student_trainer.acquire.named_files import named_files
from student_trainer.acquire.near_duplicates import Fingerprint, fingerprint
from student_trainer.acquire.outbox import Outbox
from student_trainer.acquire.records import PlanFacts, PlannedImage
from student_trainer.acquire.selection.choice import Describe, check_wish, choose
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.datasets.manifest import Entry
from student_trainer.errors import InvalidInput
from student_trainer.lock import exclusive
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
    fingerprints: Mapping[str, Fingerprint]
    """Of every candidate, by its digest."""
    unread: int = 0
    """Of the listed files, those that were not opened because enough others were."""


@dataclass(frozen=True)
class Choice:
    """What was, or would be, written."""

    chosen: list[PlannedImage]
    """All chosen images, in the order of choice."""
    added: list[PlannedImage]
    """Those that were not chosen before."""
    missing: list[PlannedImage]
    """Those whose descriptors are not held yet."""
    facts: PlanFacts
    """How they were chosen, what earlier plans left included."""
    near_duplicates: Mapping[PlannedImage, PlannedImage]
    """Candidate -> the candidate that shows nearly the same."""
    avoidable: int
    """Queries of this plan for images that show nearly what another of its images shows."""


def limits_of(model: ModelLimits) -> ImageLimits:
    """The part of a service's limits that concerns single images."""
    formats = tuple(name for name in FORMATS if name in model.formats)
    return ImageLimits(model.max_image_bytes, min(model.max_image_pixels, PIXELS_CEILING), formats or FORMATS)


NOTHING = Inventory(0, [], {}, {}, {})


def take_stock(
    entries: Sequence[Entry],
    limits: ImageLimits,
    on_looked: Callable[[], None] = lambda: None,
    before: Inventory = NOTHING,
) -> Inventory:
    """Read, admit and decode every file, several at a time, and find exact duplicates by their bytes.

    A file that cannot be read, is no image, is cut off or is over the limits is named and set aside: no
    query is ever spent on it. What was found ``before`` comes first.
    """
    candidates = {image.digest: image for image in before.candidates}
    fingerprints = dict(before.fingerprints)
    duplicates, skipped = dict(before.duplicates), dict(before.skipped)
    for entry, looked in zip(entries, _look_at_all(entries, limits), strict=True):
        on_looked()
        if isinstance(looked, str):
            skipped[entry.path] = looked
            continue
        image, seen = looked
        if image.digest not in candidates:
            candidates[image.digest], fingerprints[image.digest] = image, seen
        elif candidates[image.digest].path != image.path:
            duplicates[entry.path] = candidates[image.digest].path
    images, listed = list(candidates.values()), before.listed + len(entries)
    return Inventory(listed, images, duplicates, skipped, fingerprints)


def decide(
    run: Path,
    inventory: Inventory,
    n: int,
    facts: PlanFacts,
    *,
    describe: Describe | None = None,
    dry_run: bool = False,
) -> Choice:
    """Choose ``n`` images around what was bought, and write the transfer set, unless ``dry_run``.

    Args:
        run: the run folder.
        inventory: what there is to choose from.
        n: how many images there are to be, those that were bought included.
        facts: how to choose.
        describe: for strategies that look at images.
        dry_run: choose, and write nothing.

    Raises:
        InvalidInput: too few images, a choice that would lose what may be paid for, or another program is
            at work on the run folder.
        StorageFailed: what is there cannot be read, or nothing could be written and what was there before
            is unchanged.
    """
    if dry_run:
        return _choice(RunFolder(run).transfer_set, inventory, n, facts, describe)
    folder = RunFolder.create(run)
    with exclusive(folder):
        choice = _choice(folder.transfer_set, inventory, n, facts, describe)
        _write(folder.transfer_set, inventory, choice)
    return choice


def _choice(path: Path, inventory: Inventory, n: int, facts: PlanFacts, describe: Describe | None) -> Choice:
    check_wish(facts.strategy, n)
    before = _left_over(path, inventory, n, facts)
    near = near_duplicates.find(inventory.candidates, inventory.fingerprints, keep=before.paid)
    unwanted = {image.digest for image in near} if facts.dropped_near_duplicates else set()
    kept = [image for image in before.kept if image.digest not in unwanted]
    out = before.refused | unwanted
    usable = [image for image in inventory.candidates if image.digest not in out]
    try:
        added = choose(
            facts.strategy, usable, n, facts.seed, chosen=kept, describe=describe, drawn_by=facts.drawn_by
        )
    except InvalidInput as error:
        left = f" {len(unwanted):,} near-duplicates were left out." if unwanted else ""
        skipped = named_files(f"Of {inventory.listed:,} files, these cannot be bought", inventory.skipped)
        raise InvalidInput("\n".join([f"{error}{left}", *skipped])) from None
    chosen = [*kept, *added]
    missing = [image for image in chosen if image.digest not in before.held]
    avoidable = near_duplicates.find(chosen, inventory.fingerprints, keep=before.paid)
    facts = facts if before.facts is None else facts.after(before.facts, len(kept))
    return Choice(chosen, added, missing, facts, near, len(avoidable))


def _write(path: Path, inventory: Inventory, choice: Choice) -> None:
    if path.exists():
        with TransferSet.open(path) as existing:
            if _may_be_paid(existing):
                existing.replan(choice.facts, inventory.candidates, choice.chosen)
                return
    chosen = {image.digest for image in choice.chosen}
    others = [image for image in inventory.candidates if image.digest not in chosen]
    TransferSet.create(path, choice.facts, choice.chosen, others)


def _may_be_paid(transfer_set: TransferSet) -> bool:
    """Something is held, or a request left whose answer never came."""
    return transfer_set.summary().bought > 0 or bool(Outbox(transfer_set).unanswered())


@dataclass(frozen=True)
class _LeftOver:
    """What a new plan finds of an earlier one, and must not lose."""

    kept: list[PlannedImage]
    """In order: all that is bought or asked for, and of the others those that this plan would choose too."""
    paid: Collection[str] = ()
    """Digests of what is bought or asked for."""
    held: Collection[str] = ()
    refused: frozenset[str] = frozenset()
    facts: PlanFacts | None = None


def _left_over(path: Path, inventory: Inventory, n: int, facts: PlanFacts) -> _LeftOver:
    if not path.exists():
        return _LeftOver([])
    with TransferSet.open(path) as existing:
        if not _may_be_paid(existing):
            return _LeftOver([])
        paid = {image.digest for image in existing.chosen()} & existing.committed_digests()
        return _LeftOver(
            _kept(existing, inventory, n, facts, paid),
            paid,
            set(existing.delivered_by()),
            frozenset(existing.refused_digests()),
            existing.facts,
        )


def _kept(
    existing: TransferSet, inventory: Inventory, n: int, facts: PlanFacts, paid: Collection[str]
) -> list[PlannedImage]:
    """What a new plan keeps, in order: all that is held or asked for; chosen in the same way, others too."""
    listed = {image.digest: image for image in inventory.candidates}
    chosen = existing.chosen()
    lost = [image for image in chosen if image.digest in paid and image.digest not in listed]
    if lost:
        raise InvalidInput(
            f"{len(lost):,} images that were bought (or asked for) are not among the files listed now, "
            f"the first {lost[0].path}. List them too, or use another run folder; what is held is unchanged."
        )
    if n < len(paid):
        raise InvalidInput(
            f"{len(paid):,} images are bought or asked for, so a plan for {n:,} would lose some of them. "
            f"Give --queries {len(paid)} or more, or use another run folder for a smaller set."
        )
    same_way = existing.facts.way == facts.way
    unpaid = [i.digest for i in chosen if i.digest in listed and i.digest not in paid] if same_way else []
    keep = {*paid, *unpaid[: n - len(paid)]}
    return [listed[image.digest] for image in chosen if image.digest in keep]  # where it lies today


def _look_at_all(
    entries: Sequence[Entry], limits: ImageLimits
) -> Iterator[tuple[PlannedImage, Fingerprint] | str]:
    """In order, decoded by several threads; an interrupt does not wait for what is queued."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield from pool.map(lambda entry: _look(entry.path, limits), entries)
    finally:
        pool.shutdown(cancel_futures=True)


def _look(path: Path, limits: ImageLimits) -> tuple[PlannedImage, Fingerprint] | str:
    """The image at ``path`` and its fingerprint, or why it cannot be bought."""
    try:
        str(path).encode("utf-8")
        data = read_file(path, limits)
        header = admit(data, limits)
        seen = fingerprint(decode(data))
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    except OSError as error:
        return error.strerror or str(error)
    except InvalidImage as error:
        return str(error)
    image = PlannedImage(
        sha256_hex(data), path.absolute(), header.format, len(data), header.width, header.height
    )
    return image, seen
