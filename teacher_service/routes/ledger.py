"""``GET /v1/ledger``: the calling key's own records, and the signed head of its chain.

In: a key and a position. Out: one page of the chain. A key sees no other key's records.
"""

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request

from shared.protocol import LEDGER_PATH, LedgerEntry, LedgerPage
from teacher_service.metering.ledger import KeyRecord
from teacher_service.routes.callers import REFUSALS, caller
from teacher_service.service import service_of

MAX_RECORDS = 1000

router = APIRouter(responses=REFUSALS)


@router.get(LEDGER_PATH, summary="The ledger of the calling key")
async def ledger(
    request: Request,
    key: Annotated[KeyRecord, Depends(caller)],
    after: Annotated[int, Query(ge=-1, le=2**53 - 1)] = -1,
    limit: Annotated[int, Query(ge=1, le=MAX_RECORDS)] = MAX_RECORDS,
) -> LedgerPage:
    """Records with ``seq > after``, oldest first."""
    stations = service_of(request).stations
    # The head first: records that a page shows beyond it are simply newer than its statement.
    head = await stations.ledger.head(key.key_id)
    links = await stations.ledger.links(key.key_id, after=after, limit=limit)
    last = after + len(links)
    return LedgerPage(
        key_id=key.key_id,
        entries=[LedgerEntry(record=dict(link.record), hash=link.hash) for link in links],
        has_more=len(links) == limit and last < head.seq,
        head=stations.signer.head(head, stations.revision, time.time_ns() // 1_000_000),
    )
