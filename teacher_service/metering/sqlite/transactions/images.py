"""Which images a key has paid for, and which stand under a live hold.

In: an open transaction, image digests as hexadecimal. Out: rows of ``charged`` and ``held_images``,
with digests as raw bytes.
"""

import sqlite3

from teacher_service.metering.ledger import Reservation
from teacher_service.metering.refusals import image_in_flight
from teacher_service.metering.sqlite.transactions.accounts import AccountRow
from teacher_service.metering.sqlite.transactions.holds import retry_after_ms

_VARIABLES = 500
"""Images in one look-up; SQLite's own limit on variables is at least 999."""


def paid_images(db: sqlite3.Connection, key: AccountRow, reservation: Reservation) -> set[bytes]:
    """Those images of a request that the key was charged for under the request's revision."""
    rows = _rows_of("image, charges FROM charged", db, key, reservation.teacher_revision, reservation.images)
    return {image for image, _ in rows}


def refuse_held(
    db: sqlite3.Connection, key: AccountRow, revision: str, images: tuple[str, ...], now_ms: int
) -> None:
    """Raises InFlight if another live hold of the key covers one of the images."""
    held = _rows_of("image, hold_id FROM held_images", db, key, revision, images)
    if held:
        image, hold_id = held[0]
        raise image_in_flight(image.hex(), retry_after_ms(db, hold_id, now_ms))


def _rows_of(
    what: str, db: sqlite3.Connection, key: AccountRow, revision: str, images: tuple[str, ...]
) -> list[tuple[bytes, str]]:
    rows: list[tuple[bytes, str]] = []
    for start in range(0, len(images), _VARIABLES):
        part = [bytes.fromhex(image) for image in images[start : start + _VARIABLES]]
        marks = ",".join("?" * len(part))
        query = f"SELECT {what} WHERE key_no = ? AND revision = ? AND image IN ({marks})"
        rows += db.execute(query, (key.key_no, bytes.fromhex(revision), *part)).fetchall()
    return rows
