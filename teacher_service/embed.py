"""The story of one request.

In: who asks, and how to read what is asked. Out: the descriptors, what they cost and the signed receipt, or
a refusal that charged nothing. The order of the steps is the service's promise (``docs/metering.md``).
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from shared.digest import digest_of_list
from shared.receipts import SignedReceipt
from teacher_service.access.keys import authenticate
from teacher_service.access.rates import RateLimits
from teacher_service.access.turnstile import Turnstile
from teacher_service.errors import InvalidInputImage, RevisionMismatch
from teacher_service.inference.batcher import Batcher, UndecodableImages
from teacher_service.inference.cache import DescriptorCache
from teacher_service.inference.responses import Descriptor
from teacher_service.logs import log
from teacher_service.metering.ledger import Hold, Ledger, LedgerError, Reservation, Settlement
from teacher_service.metering.signing import ReceiptSigner


@dataclass(frozen=True, slots=True)
class Submission:
    """What a request asks for, already admitted: no pixel is decoded yet."""

    images: tuple[tuple[str, bytes], ...]
    """(SHA-256, encoded bytes) in the order of the request, duplicates included."""
    encoding_format: str = "float"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, as its headers tell it."""

    request_id: str
    authorization: str | None
    idempotency_key: str | None
    read: Callable[[str], Awaitable[Submission]]
    """Reads and admits the body; called only for a key that is known, with its id."""
    revision: str | None = None
    """The teacher that the caller insists on, if any."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A settled request: it may leave."""

    submission: Submission
    descriptors: Sequence[Descriptor]
    """One for each image of the request, in its order."""
    settlement: Settlement
    receipt: SignedReceipt
    rate_headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Stations:
    """What a request passes on its way."""

    ledger: Ledger
    rates: RateLimits
    turnstile: Turnstile
    cache: DescriptorCache
    batcher: Batcher
    signer: ReceiptSigner
    model_id: str
    revision: str


async def embed(stations: Stations, ask: Ask) -> Answer:
    """authenticate > revision > admit > rate > reserve > cache | batch > teacher > settle > answer + receipt.

    Raises:
        InvalidApiKey, Refusal, LedgerError: nothing was charged, and what was held is given back.
    """
    key = await authenticate(stations.ledger, ask.authorization)
    # Before the body is admitted: another teacher's limits say nothing about the images.
    if ask.revision is not None and ask.revision != stations.revision:
        raise RevisionMismatch(ask.revision, stations.revision)
    submission = await ask.read(key.key_id)
    rate_headers = await stations.rates.spend(key.key_id, key.rate, len(submission.images))
    images = dict(submission.images)

    async with stations.turnstile.passage((key.key_id, stations.revision, image) for image in images):
        hold = await stations.ledger.reserve(_reservation(stations, ask, key.key_id, submission, images))
        try:
            descriptors = await _descriptors(stations, submission, images)
            digests = {image: descriptor.digest for image, descriptor in descriptors.items()}
            settlement = await stations.ledger.settle(hold, digests)
        except BaseException:
            await _release(stations.ledger, hold, ask.request_id)
            raise

    receipt = stations.signer.receipt(settlement, stations.revision)
    rows = [descriptors[image] for image, _ in submission.images]
    return Answer(submission, rows, settlement, receipt, rate_headers)


def _reservation(
    stations: Stations, ask: Ask, key_id: str, submission: Submission, images: dict[str, bytes]
) -> Reservation:
    body_digest = ""
    if ask.idempotency_key is not None:
        # Over what is asked, not over the bytes of the body: a multipart boundary changes at every try.
        body_digest = digest_of_list([stations.model_id, *(image for image, _ in submission.images)])
    return Reservation(
        key_id=key_id,
        request_id=ask.request_id,
        teacher_revision=stations.revision,
        images=tuple(images),
        idempotency_key=ask.idempotency_key,
        body_digest=body_digest,
    )


async def _descriptors(
    stations: Stations, submission: Submission, images: dict[str, bytes]
) -> dict[str, Descriptor]:
    """From the cache or else from the teacher.

    Raises:
        InvalidInputImage: one is undecodable; nothing was computed.
    """
    found = await stations.cache.get(stations.revision, images)
    missing = {image: data for image, data in images.items() if image not in found}
    if not missing:
        return found
    try:
        computed = await stations.batcher.describe(missing)
    except UndecodableImages as error:
        raise _first_bad(submission, error) from error
    await stations.cache.put(stations.revision, computed)
    return found | computed


def _first_bad(submission: Submission, error: UndecodableImages) -> InvalidInputImage:
    """The refusal names the first bad image of the request."""
    index, image = next(
        (k, image) for k, (image, _) in enumerate(submission.images) if image in error.reasons
    )
    return InvalidInputImage(str(error.reasons[image]), param=f"input[{index}]")


async def _release(ledger: Ledger, hold: Hold, request_id: str) -> None:
    """Give the hold back; if even that fails, it expires with its lease."""
    try:
        await ledger.release(hold)
    except LedgerError as error:
        log("release_failed", level="warning", request_id=request_id, hold_id=hold.hold_id, reason=str(error))
