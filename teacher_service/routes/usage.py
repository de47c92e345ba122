"""``GET /v1/usage``: what the calling key may spend, has spent, and holds in flight.

In: a key. Out: its account, read from the ledger.
"""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request

from shared.protocol import USAGE_PATH, UsageResponse
from teacher_service.metering.ledger import KeyRecord
from teacher_service.routes.callers import REFUSALS, caller
from teacher_service.service import service_of

router = APIRouter(responses=REFUSALS)


@router.get(USAGE_PATH, summary="The account of the calling key")
async def usage(request: Request, key: Annotated[KeyRecord, Depends(caller)]) -> UsageResponse:
    """Budget, its window, used, held and remaining queries."""
    return UsageResponse(
        key_id=key.key_id,
        name=key.name,
        billing=key.billing,
        budget=key.budget,
        window=key.window,
        window_ends_at_ms=key.window_ends_at_ms,
        used=key.used,
        used_in_window=key.used_in_window,
        held=key.held,
        remaining=key.spendable,
        rate=key.rate,
        revoked=key.revoked,
        teacher_revision=service_of(request).stations.revision,
    )
