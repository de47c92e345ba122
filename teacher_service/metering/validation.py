"""What a store checks before it is asked: a bad value must never become a record that cannot be verified.

In: requests to a ledger. Out: nothing, or ValueError naming the value.
"""

import re
from collections.abc import Iterable, Mapping

from teacher_service.metering.ledger import NewKey, Reservation

MAX_BUDGET_QUERIES = 2**53 - 1
"""Beyond this, JSON numbers lose digits in other languages."""
MAX_KEY_ID, MAX_REQUEST_ID, MAX_NAME = 64, 128, 200

_is_digest = re.compile(r"[0-9a-f]{64}").fullmatch


def check_new_key(key: NewKey) -> None:
    """Raises ValueError: a bad budget, an empty or overlong name or id, text that is not Unicode."""
    if not 0 <= key.budget <= MAX_BUDGET_QUERIES:
        raise ValueError(f"A budget of {key.budget:,} queries is not possible: 0 to {MAX_BUDGET_QUERIES:,}.")
    _check_text("The key's id", key.key_id, MAX_KEY_ID)
    _check_text("The key's name", key.name, MAX_NAME)


def check_reservation(reservation: Reservation) -> None:
    """Raises ValueError: no images, one twice, or something that is not a digest or an id."""
    _check_text("The request's id", reservation.request_id, MAX_REQUEST_ID)
    if not reservation.images:
        raise ValueError(f"Request {reservation.request_id} asks for no image.")
    if len(set(reservation.images)) != len(reservation.images):
        raise ValueError(f"Request {reservation.request_id} names an image twice; ask for it once.")
    _check_digests((reservation.teacher_revision, *reservation.images))


def check_descriptors(reservation: Reservation, descriptors: Mapping[str, str]) -> None:
    """Raises ValueError: an image has no descriptor digest, or what it has is none."""
    missing = [image for image in reservation.images if image not in descriptors]
    if missing:
        raise ValueError(f"{len(missing)} images have no descriptor digest, the first {missing[0][:12]}.")
    _check_digests(descriptors[image] for image in reservation.images)


def _check_digests(digests: Iterable[str]) -> None:
    for digest in digests:
        if _is_digest(digest) is None:
            raise ValueError(f"{digest!r} is not a SHA-256 in lower-case hexadecimal.")


def _check_text(what: str, text: str, longest: int) -> None:
    if not 1 <= len(text) <= longest:
        raise ValueError(f"{what} must have 1 to {longest} characters, it has {len(text)}.")
    if not text.isprintable():  # also refuses lone surrogates, which JSON cannot carry
        raise ValueError(f"{what} holds characters that cannot be printed: {text!r}.")
