"""Buying what a teacher's evaluation needs, where the teacher is an API: an image is a query like any other.

In: image files, and the service. Out: a transfer set of the evaluation's own, ``evaluation_set.sqlite`` in
the run folder, filled by the machinery of ``fetch``: what it costs is said first, nothing is paid twice, and
an interrupted purchase continues. What was bought to learn from stays apart, and so does its certificate.
"""

import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from shared.digest import sha256_hex
from shared.images import ImageLimits
from shared.vectors import Float32Rows
from student_trainer.acquire import session
from student_trainer.acquire.client import Access
from student_trainer.acquire.fetch import Outcome
from student_trainer.acquire.outbox import Outbox
from student_trainer.acquire.plan import take_stock
from student_trainer.acquire.purpose import EVALUATION
from student_trainer.acquire.records import PlanFacts, PlannedImage, Teacher
from student_trainer.acquire.spending import ask_for_yes, fetch_with_progress
from student_trainer.acquire.summaries import exhausted
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.datasets.manifest import Entry
from student_trainer.errors import BudgetTooSmall, Interrupted, InvalidInput, RevisionChanged
from student_trainer.lock import exclusive
from student_trainer.run_folder import RunFolder

FACTS = PlanFacts("all", 0, "an evaluation")
_NAMED = 5


@dataclass(frozen=True)
class Purchased:
    """Descriptors of an evaluation's images."""

    teacher: Teacher
    digests: Mapping[Path, str]
    """Image file -> SHA-256 of its bytes."""
    vectors: Mapping[str, Float32Rows]
    """SHA-256 -> descriptor, float32 [dim]."""
    queries_charged: int
    """Paid for this evaluation set in all, earlier evaluations included."""


def purchase(
    run: RunFolder,
    paths: Sequence[Path],
    access: Access,
    teacher: Teacher,
    limits: ImageLimits,
    *,
    yes: bool = False,
) -> Purchased:
    """Have every file described by the service; says on standard error what that costs, and asks.

    Args:
        run: holds what was bought before; that is not asked for again.
        paths: image files.
        access: to the service.
        teacher: whom the service serves now.
        limits: what the service admits.
        yes: agree to the cost without being asked.

    Raises:
        InvalidInput: files that cannot be bought, or that the teacher refused; nobody agreed; another key.
        BudgetTooSmall: the key cannot pay for what is missing, or not in this window of its budget.
        RevisionChanged: it is not the teacher whose descriptors the run or the evaluation bought.
        ServiceRefused, VerificationFailed, StorageFailed: as in ``fetch``.
        Interrupted: by the user, or not agreed to.
    """
    with exclusive(run):
        _check_teacher(run, teacher)
        digests = _plan(run.evaluation_set, paths, limits)
        with TransferSet.open(run.evaluation_set) as wanted:
            if not wanted.summary().complete:
                _buy(run, wanted, access, yes=yes)
            return _held(wanted, digests)


def _plan(path: Path, paths: Sequence[Path], limits: ImageLimits) -> dict[Path, str]:
    """Write down which images are wanted, refused ones too; what was bought before stays."""
    with ThreadPoolExecutor() as pool:
        digests = dict(zip(paths, pool.map(_digest, paths), strict=True))
    before = _known(path)
    looked = take_stock([Entry(file) for file, digest in digests.items() if digest not in before], limits)
    if looked.skipped:
        named = "\n  ".join(f"{file}: {why}" for file, why in list(looked.skipped.items())[:_NAMED])
        more = f"\n  and {len(looked.skipped) - _NAMED:,} more" if len(looked.skipped) > _NAMED else ""
        raise InvalidInput(
            f"{len(looked.skipped):,} images of the evaluation cannot be bought. Nothing was spent.\n"
            f"  {named}{more}"
        )
    here = {
        digest: replace(before[digest], path=file.absolute())
        for file, digest in digests.items()
        if digest in before
    }
    images = [*here.values(), *looked.candidates]
    if not path.exists():
        TransferSet.create(path, FACTS, images)
        return digests
    with TransferSet.open(path) as existing:
        wanted, paid = set(digests.values()), existing.committed_digests()
        Outbox(existing).forget_refusals(wanted)
        kept = [here.get(image.digest, image) for image in existing.chosen() if image.digest in wanted | paid]
        new = [image for image in images if image.digest not in {one.digest for one in kept}]
        existing.replan(FACTS, images, [*kept, *new])
    return digests


def _known(path: Path) -> dict[str, PlannedImage]:
    if not path.exists():
        return {}
    with TransferSet.open(path) as existing:
        return {row["digest"]: PlannedImage.from_row(row) for row in existing.rows("SELECT * FROM images")}


def _buy(run: RunFolder, wanted: TransferSet, access: Access, *, yes: bool) -> None:
    settings = session.FetchSettings()
    terms = session.quote(wanted, access, settings.patience, EVALUATION)
    _check_teacher(run, terms.teacher)  # it may have changed while the images were looked at
    _advise_own_key(run, terms.teacher)
    print(terms.text(run.evaluation_set), file=sys.stderr)
    ask_for_yes(yes)
    outcome = fetch_with_progress(wanted, access, terms, settings)
    _check_complete(wanted, outcome)


def _check_teacher(run: RunFolder, served: Teacher) -> None:
    """One teacher for the training and for the whole evaluation set, bought or yet to be bought."""
    learned_from, measured = _teacher_of(run.transfer_set), _teacher_of(run.evaluation_set)
    if learned_from is not None and learned_from.revision != served.revision:
        raise RevisionChanged(
            f"The service at {served.url} serves revision {served.revision[:12]}; the student "
            f"learned from {learned_from.revision[:12]}. Nothing was spent: measure its own teacher."
        )
    if measured is not None and measured.revision != served.revision:
        raise RevisionChanged(
            f"The service at {served.url} serves revision {served.revision[:12]}; {run.evaluation_set} was "
            f"bought from {measured.revision[:12]}. Nothing was spent: to measure another teacher, "
            f"{EVALUATION.anew}."
        )


def _advise_own_key(run: RunFolder, served: Teacher) -> None:
    """Better not the key whose chain is to be certified."""
    learned_from = _teacher_of(run.transfer_set)
    if learned_from is not None and learned_from.key_id == served.key_id:
        print(
            f"Key {served.key_id} also paid for the training images: with images of an evaluation on its "
            "account the audit certifies the training no more. Better give the evaluation a key of its own.",
            file=sys.stderr,
        )


def _teacher_of(path: Path) -> Teacher | None:
    if not path.is_file():
        return None
    with TransferSet.open(path) as bought:
        return bought.teacher


def _check_complete(wanted: TransferSet, outcome: Outcome) -> None:
    summary, refusals = wanted.summary(), wanted.refusals()
    if summary.complete and not refusals and not outcome.changed:
        return
    if outcome.interrupted:
        raise Interrupted(
            f"Interrupted: {summary.missing:,} descriptors are missing. The same command continues; nothing "
            "is paid twice."
        )
    if outcome.exhausted_until_ms is not None:
        raise BudgetTooSmall(exhausted(summary, outcome.exhausted_until_ms))
    _refuse({**refusals, **outcome.changed})


def _refuse(images: Mapping[Path, str]) -> None:
    first = next(iter(images), None)
    why = f", the first {first}: {images[first]}" if first is not None else ""
    raise InvalidInput(
        f"{len(images):,} images of the evaluation have no descriptor of the teacher{why}. An evaluation "
        "without them would not be the one you asked for."
    )


def _held(wanted: TransferSet, digests: Mapping[Path, str]) -> Purchased:
    bought, teacher = wanted.bought(), wanted.teacher
    vectors = dict(zip(bought.images, bought.vectors, strict=True))
    reasons = wanted.refusals()
    absent = {
        path: reasons.get(path.absolute(), "it was not bought")
        for path, digest in digests.items()
        if digest not in vectors
    }
    if absent or teacher is None:
        _refuse(absent)
    assert teacher is not None
    return Purchased(teacher, digests, vectors, wanted.summary().charged)


def _digest(path: Path) -> str:
    try:
        return sha256_hex(path.read_bytes())
    except OSError as error:
        raise InvalidInput(f"The image {path} cannot be read: {error.strerror}.") from None
