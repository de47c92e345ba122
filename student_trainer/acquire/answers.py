"""The checks on what a teacher sends, before any of it is stored.

In: an unchecked answer, the images it is for, and the pinned teacher. Out: descriptors and their receipt,
of which every statement has been compared with what arrived. No I/O.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.chain import Item
from shared.digest import digest_of_document
from shared.protocol import Header, ModelCard, UsageResponse
from shared.receipts import BadReceipt, Receipt, SignedReceipt, delivery_digest, from_header
from shared.vectors import Float32Rows, InvalidDescriptors, check_rows, decode_rows, descriptor_digest
from student_trainer.acquire.client import RawAnswer
from student_trainer.acquire.purpose import TRAINING, Purpose
from student_trainer.acquire.records import Teacher
from student_trainer.errors import InvalidInput, RevisionChanged, VerificationFailed


@dataclass(frozen=True)
class Answer:
    """Descriptors float32 [n, D] in the order of the request, and the receipt that covers them."""

    rows: Float32Rows
    receipt: SignedReceipt


def introduce(url: str, model: ModelCard, usage: UsageResponse) -> Teacher:
    """What a service says of itself, as it is pinned.

    Raises:
        VerificationFailed: its description does not give the revision that it claims.
    """
    try:
        described = digest_of_document(model.description)
    except TypeError as error:
        raise VerificationFailed(f"The teacher's description cannot be digested: {error}.") from None
    if described != model.revision or usage.teacher_revision != model.revision:
        raise VerificationFailed(
            f"The service at {url} claims teacher revision {model.revision[:12]}, but its description gives "
            f"{described[:12]} and the key's account names {usage.teacher_revision[:12]}. Nothing was spent."
        )
    return Teacher(
        url=url,
        key_id=usage.key_id,
        billing=usage.billing,
        public_key=model.public_key,
        revision=model.revision,
        model=model.id,
        dim=model.dimension,
        unit_norm=_promises_unit_norm(model),
        description=model.description,
    )


def check_same(found: Teacher, pinned: Teacher, purpose: Purpose = TRAINING) -> None:
    """Refuse to mix descriptors of two teachers, or receipts of two keys, in one transfer set.

    Raises:
        VerificationFailed: another signing key: this is not the same service.
        InvalidInput: another API key.
        RevisionChanged: another teacher, or other preprocessing or output.
    """
    if found.public_key != pinned.public_key:
        raise VerificationFailed(
            f"The service at {found.url} signs with key {found.public_key[:16]}; the one that this "
            f"{purpose.held_in} was bought from ({pinned.url}) signs with {pinned.public_key[:16]}. "
            "Nothing was spent."
        )
    if found.key_id != pinned.key_id:
        raise InvalidInput(
            f"This {purpose.held_in} belongs to API key {pinned.key_id}, the key given is {found.key_id}. "
            f"Give the first one, or {purpose.anew}. Nothing was spent."
        )
    if found.revision != pinned.revision:
        raise RevisionChanged(
            _revision_message(found.revision, pinned.revision, purpose) + " Nothing was spent."
        )


def check_answer(raw: RawAnswer, images: Sequence[str], teacher: Teacher) -> Answer:
    """Compare an answer with what was asked and with its own receipt.

    Args:
        raw: the answer.
        images: SHA-256 of each image of the request, in order, all distinct.
        teacher: the pinned teacher.

    Raises:
        RevisionChanged: another teacher answered.
        VerificationFailed: anything else that does not hold; the message names it.
    """
    try:
        signed = from_header(raw.headers.get(Header.RECEIPT, ""))
        receipt = signed.verify(teacher.public_key)
        if receipt.teacher_revision != teacher.revision:
            raise RevisionChanged(_revision_message(receipt.teacher_revision, teacher.revision))
        rows = _rows(raw, len(images), teacher)
        _check_receipt(receipt, raw, images, rows, teacher)
    except (BadReceipt, InvalidDescriptors) as error:
        raise VerificationFailed(
            f"An answer for {len(images)} images does not hold and was not stored: {error} "
            "Tell the teacher's owner; asking again replays the answer without a charge."
        ) from None
    return Answer(rows, signed)


def _rows(raw: RawAnswer, n: int, teacher: Teacher) -> Float32Rows:
    stated = raw.headers.get(Header.EMBEDDING_DIM)
    if stated != str(teacher.dim):
        raise InvalidDescriptors(
            f"{Header.EMBEDDING_DIM} is {stated}, the teacher's dimension is {teacher.dim}."
        )
    rows = decode_rows(raw.body, teacher.dim)
    check_rows(rows, n=n, dim=teacher.dim, unit_norm=teacher.unit_norm)
    return rows


def _check_receipt(
    receipt: Receipt, raw: RawAnswer, images: Sequence[str], rows: Float32Rows, teacher: Teacher
) -> None:
    items = [
        Item(image=image, descriptor=descriptor_digest(row), charged=False)
        for image, row in zip(images, rows, strict=True)
    ]
    charged = int(receipt.charged)
    facts: dict[str, tuple[object, object]] = {
        "key": (receipt.key_id, teacher.key_id),
        "request": (receipt.request_id, raw.headers.get(Header.REQUEST_ID)),
        "number of images": (charged + receipt.replayed, len(images)),
        "charge": (str(charged), raw.headers.get(Header.QUERIES_CHARGED)),
        "delivery": (receipt.delivery_digest, delivery_digest(items)),
    }
    for name, (stated, arrived) in facts.items():
        if stated != arrived:
            raise BadReceipt(f"The receipt states {name} {stated}, what arrived has {arrived}.")


def _promises_unit_norm(model: ModelCard) -> bool:
    """Rounding is the one output policy that leaves the unit sphere."""
    output = model.description.get("output")
    return not (isinstance(output, dict) and output.get("decimals") is not None)


def _revision_message(found: str, pinned: str, purpose: Purpose = TRAINING) -> str:
    return (
        f"The teacher's revision is now {found[:12]}; this {purpose.held_in} was bought from {pinned[:12]}. "
        "Descriptors of two revisions are not mixed: what is held stays as it is. Have the first teacher "
        f"served again, or {purpose.anew}."
    )
