"""The export of a ledger while it is read: verified page by page, into a file or onto the wire.

In: an open ledger. Out: the bytes of an export file, as ``export_file.py`` defines it.
What one export holds in memory is one page, and the digests of one key's images.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable
from typing import BinaryIO

from shared.chain import Account, Link
from teacher_service.metering.archive import Archive
from teacher_service.metering.auditing.export_file import End, Header, RecordLine, key_line, to_bytes
from teacher_service.metering.auditing.verify import Verified, sorted_keys, verified_pages
from teacher_service.metering.ledger import KeyRecord
from teacher_service.metering.reporting.tables import RECORD_COLUMNS, record_cells, to_csv


class LedgerExport:
    """One run through a ledger; a server may go on working meanwhile, each key is taken as of one moment."""

    def __init__(self, ledger: Archive) -> None:
        self._ledger = ledger
        self._digest = hashlib.sha256()
        self._accounts: list[Account] = []

    @property
    def verified(self) -> Verified:
        """What was exported; the whole ledger once :meth:`parts` has ended."""
        return Verified(tuple(self._accounts))

    async def parts(self) -> AsyncIterator[bytes]:
        """The file in parts of whole lines. The last line comes only if the whole ledger holds.

        Raises:
            LedgerInvalid: the ledger does not hold.
            LedgerUnavailable: the ledger cannot be read.
        """
        keys = await sorted_keys(self._ledger)  # first, so that nothing begins where nothing can be read
        yield self._counted(to_bytes(Header()))
        for key in keys:
            totals = await self._ledger.totals(key.key_id)
            yield self._counted(to_bytes(key_line(key, totals)))
            account: Account | None = None
            async for page, account in verified_pages(self._ledger, key, totals):  # noqa: B007
                yield self._counted(await asyncio.to_thread(record_lines, page))
            assert account is not None, "a chain without records is not verified"
            self._accounts.append(account)
        counts = self.verified
        end = End(keys=len(counts.accounts), records=counts.records, digest=self._digest.hexdigest())
        yield to_bytes(end)

    def _counted(self, part: bytes) -> bytes:
        self._digest.update(part)
        return part


def record_lines(page: Iterable[Link]) -> bytes:
    """Records as lines of an export file."""
    return b"".join([to_bytes(RecordLine(hash=link.hash, record=dict(link.record))) for link in page])


def record_rows(page: Iterable[Link]) -> bytes:
    """Records as lines of CSV, in the columns of ``tables.py``. Raises ChainBroken."""
    return to_csv([record_cells(link) for link in page]).encode()


async def export_ledger(ledger: Archive, out: BinaryIO) -> Verified:
    """Write all keys and chains, verified while they are written.

    Raises:
        LedgerInvalid: the ledger does not hold; what was written so far lacks its last line.
        LedgerUnavailable: the ledger cannot be read.
        OSError: ``out`` cannot be written.
    """
    export = LedgerExport(ledger)
    async for part in export.parts():
        out.write(part)
    return export.verified


async def export_records(ledger: Archive, keys: Iterable[KeyRecord], out: BinaryIO, *, csv: bool) -> Verified:
    """Write the records of some keys, one line each, verified while they are written; no archive to import.

    Raises what :func:`export_ledger` raises.
    """
    accounts = []
    if csv:
        out.write(to_csv([], RECORD_COLUMNS).encode())
    for key in keys:
        account: Account | None = None
        async for page, account in verified_pages(ledger, key, await ledger.totals(key.key_id)):  # noqa: B007
            out.write(record_rows(page) if csv else record_lines(page))
        assert account is not None, "a chain without records is not verified"
        accounts.append(account)
    return Verified(tuple(accounts))
