"""The events that tell most: what every store writes on the chain for a new key, and for a settled hold.

In: a new key; or a hold, what is about to be delivered for it, and where the chain stands. Out: the event.
"""

from collections.abc import Mapping

from shared.chain import Genesis, Item, Settle
from teacher_service.metering.ledger import Hold, NewKey


def genesis_event(key: NewKey, at_ms: int) -> Genesis:
    """The first event of a key's chain."""
    return Genesis(
        key_id=key.key_id,
        seq=0,
        at_ms=at_ms,
        name=key.name,
        budget=key.budget,
        window=key.window,
        billing=key.billing,
    )


def settle_event(hold: Hold, descriptors: Mapping[str, str], *, seq: int, used: int, at_ms: int) -> Settle:
    """The next event of a key's chain.

    Args:
        hold: what is settled.
        descriptors: image digest -> descriptor digest.
        seq: position of the new event.
        used: queries charged before it.
        at_ms: the store's time, milliseconds since 1970.
    """
    reservation, charged = hold.reservation, len(hold.charged_images)
    return Settle(
        key_id=reservation.key_id,
        seq=seq,
        at_ms=at_ms,
        request_id=reservation.request_id,
        teacher_revision=reservation.teacher_revision,
        charged=charged,
        replayed=len(reservation.images) - charged,
        used_after=used + charged,
        items=tuple(
            Item(image=image, descriptor=descriptors[image], charged=image in hold.charged_images)
            for image in reservation.images
        ),
    )
