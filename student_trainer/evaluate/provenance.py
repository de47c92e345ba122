"""Which bought descriptors a student learned from, by the digest that its file carries.

In: checkpoints and transfer sets. Out: digests and counts that can be compared, also with a certificate.
"""

from dataclasses import dataclass
from pathlib import Path

from shared.certificate import transfer_set_digest
from shared.checkpoints import CheckpointError, read_notes
from student_trainer.acquire.audit import stored_descriptors
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.distil.lineage.start import EARLIER_SETS, TRANSFER_SET
from student_trainer.errors import InvalidInput


@dataclass(frozen=True)
class Held:
    """The descriptors of a transfer set."""

    digest: str
    """:func:`shared.certificate.transfer_set_digest`."""
    images: frozenset[str]
    """Digests of their images."""
    public_key: str | None
    """The service's key as it was seen when the first descriptor was fetched; None before that."""
    dim: int | None
    """Of the descriptors; None before that."""


def held(transfer_set: Path) -> Held:
    """What a transfer set holds now.

    Raises:
        InvalidInput: it is not a transfer set.
        StorageFailed: it is damaged.
    """
    with TransferSet.open(transfer_set) as opened:
        descriptors = stored_descriptors(opened)
        teacher = opened.teacher
    key, dim = (teacher.public_key, teacher.dim) if teacher else (None, None)
    return Held(transfer_set_digest(descriptors), frozenset(descriptors), key, dim)


def learned_from(student: Path) -> str | None:
    """Digest of the transfer set that a student was trained on, or else the one that it started from; None if
    neither saw a bought descriptor.

    Raises:
        InvalidInput: it is not a checkpoint of ours.
    """
    return _notes(student).get(TRANSFER_SET)


def learned_before(student: Path) -> tuple[str, ...]:
    """Digests of further transfer sets, which students learned from that this one started from.

    Raises:
        InvalidInput: it is not a checkpoint of ours.
    """
    return tuple(_notes(student).get(EARLIER_SETS, "").split())


def _notes(student: Path) -> dict[str, str]:
    try:
        return read_notes(student)
    except CheckpointError as error:
        raise InvalidInput(str(error)) from None
