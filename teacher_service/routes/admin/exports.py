"""``GET /v1/admin/export`` and ``GET /v1/admin/keys/{key_id}/ledger``: the ledger, streamed.

In: nothing, or a key. Out: lines, page by page. Where the ledger does not hold, or cannot be read any more,
the answer is cut: the connection ends without its last chunk, and an export lacks its last line.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import StreamingResponse

from shared.admin_protocol import EXPORT_PATH, KEY_PATH
from shared.chain import ChainBroken
from teacher_service.logs import log
from teacher_service.metering.archive import Archive, LedgerInvalid
from teacher_service.metering.auditing.exporting import LedgerExport, record_lines, record_rows
from teacher_service.metering.auditing.verify import pages
from teacher_service.metering.ledger import LedgerError
from teacher_service.metering.reporting.tables import RECORD_COLUMNS, to_csv
from teacher_service.routes.admin.door import archive_of, as_seen_by_an_admin
from teacher_service.routes.admin.usage import CSV

JSONL = "application/jsonl"

router = APIRouter()


class CutOff(Exception):
    """The rest of an answer that has begun cannot be had."""


@router.get(
    EXPORT_PATH,
    summary="The whole ledger as an export file",
    response_class=StreamingResponse,
    responses={200: {"content": {JSONL: {"schema": {"type": "string"}}}}},
)
async def export(request: Request) -> StreamingResponse:
    """Verified while it is written; whole only if its last line has ``"kind":"end"``."""
    parts = LedgerExport(archive_of(request)).parts()
    return await _streamed(request, parts, JSONL, "ledger.jsonl")


@router.get(
    KEY_PATH + "/ledger",
    summary="One key's records",
    response_class=StreamingResponse,
    responses={200: {"content": {kind: {"schema": {"type": "string"}} for kind in (JSONL, CSV)}}},
)
async def key_ledger(
    request: Request,
    key_id: str,
    format_: Annotated[Literal["jsonl", "csv"], Query(alias="format")] = "jsonl",
) -> StreamingResponse:
    """Oldest first, up to the newest record when the answer began; the hashes are passed on unverified."""
    ledger = archive_of(request)
    with as_seen_by_an_admin(key_id):
        head = await ledger.head(key_id)
    if format_ == "csv":
        return await _streamed(request, _csv(ledger, key_id, head.seq), CSV, f"{key_id}.csv")
    return await _streamed(request, _jsonl(ledger, key_id, head.seq), JSONL, f"{key_id}.jsonl")


async def _jsonl(ledger: Archive, key_id: str, last: int) -> AsyncIterator[bytes]:
    async for page in pages(ledger, key_id, last):
        yield await asyncio.to_thread(record_lines, page)


async def _csv(ledger: Archive, key_id: str, last: int) -> AsyncIterator[bytes]:
    yield to_csv([], RECORD_COLUMNS).encode()
    async for page in pages(ledger, key_id, last):
        yield await asyncio.to_thread(record_rows, page)


async def _streamed(
    request: Request, parts: AsyncIterator[bytes], media_type: str, file_name: str
) -> StreamingResponse:
    """The first part is made before the answer begins, so that a ledger that is away is still a 503."""
    first = await anext(parts)
    headers = {"Content-Disposition": f'attachment; filename="{file_name}"'}
    return StreamingResponse(_rest(request, first, parts), media_type=media_type, headers=headers)


async def _rest(request: Request, first: bytes, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    try:
        async for part in parts:
            yield part
    except (LedgerInvalid, LedgerError, ChainBroken) as error:
        log("export_cut", level="error", request_id=request.state.request_id, reason=str(error))
        raise CutOff(str(error)) from error
