"""Who calls: the key of a request, for the routes that only read.

In: the ``Authorization`` header. Out: the key's account, or 401.
A revoked key may read, so that its buyer can still audit.
"""

from typing import Annotated, Any

from fastapi import Depends
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from starlette.requests import Request

from shared.protocol import ErrorResponse
from teacher_service.access.keys import authenticate
from teacher_service.metering.ledger import KeyRecord
from teacher_service.service import service_of

_BEARER = HTTPBearer(scheme_name="ApiKey", description="An API key, rtn_...", auto_error=False)

REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": ErrorResponse, "description": "No key, or an unknown one"},
    404: {"model": ErrorResponse, "description": "No such thing"},
    422: {"model": ErrorResponse, "description": "A parameter that cannot be"},
    503: {"model": ErrorResponse, "description": "Ledger unavailable"},
}


async def caller(
    request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
) -> KeyRecord:
    """The calling key's account, revoked or not. Raises InvalidApiKey, LedgerUnavailable."""
    ledger = service_of(request).stations.ledger
    return await authenticate(ledger, request.headers.get("authorization"), may_be_revoked=True)
