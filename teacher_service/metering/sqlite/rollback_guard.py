"""Refuses a ledger file that is older than what was seen of it: a restored copy, or another in its place.

In: a connection, and what was seen of the chains. Out: nothing, or the first record that is gone.
"""

import sqlite3

from teacher_service.metering.watermarks import Watermarks

_RECORD = "SELECT hash FROM events WHERE key_no = (SELECT key_no FROM keys WHERE key_id = ?) AND seq = ?"


def check_not_rolled_back(db: sqlite3.Connection, watermarks: Watermarks) -> None:
    """Load the watermarks' file, and look for every record that it names.

    Raises:
        StoreRolledBack: one is gone or another, or this is not the store that the file remembers.
        LedgerUnavailable: the file cannot be used.
        sqlite3.Error: the store cannot be read.
    """
    ((epoch,),) = db.execute("SELECT epoch FROM store").fetchall()
    watermarks.load(epoch)
    for key_id, mark in watermarks.all().items():
        if db.execute(_RECORD, (key_id, mark.seq)).fetchone() != (bytes.fromhex(mark.hash),):
            raise watermarks.rolled_back(key_id)
