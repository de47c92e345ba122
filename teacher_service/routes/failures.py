"""What went wrong becomes an answer in OpenAI's error shape, with the status and headers of ``docs/api.md``.

In: refusals, what the ledger and the keys raise, and what the web framework raises by itself. Out: responses.
"""

import math
from collections.abc import Mapping

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from shared.protocol import ErrorBody, ErrorCode, ErrorResponse, Header
from teacher_service.access.admin_key import InvalidAdminKey
from teacher_service.access.keys import InvalidApiKey
from teacher_service.errors import Refusal
from teacher_service.metering.ledger import (
    BudgetChanged,
    BudgetExhausted,
    HoldExpired,
    IdempotencyMismatch,
    InFlight,
    KeyExists,
    KeyRevoked,
    LedgerError,
    LedgerUnavailable,
    TooManyReplays,
    UnknownKey,
)
from teacher_service.routes.outages import OutageLog

UNAVAILABLE_RETRY_AFTER_S = 5
UNAVAILABLE = (
    "The ledger cannot be used at the moment, so nothing is delivered. Whether the request was carried out "
    "is not known: what it may have been charged for is delivered free when asked for again (billed per "
    f"call: under the same Idempotency-Key). Try again in {UNAVAILABLE_RETRY_AFTER_S} seconds."
)
"""All that a caller is told, who may be anybody: the reason names files, hosts and keys; it is in the log."""
_CLIENT, _AUTH, _SERVER = "invalid_request_error", "authentication_error", "server_error"
_CONFLICT, _RATE = "conflict_error", "rate_limit_error"


def install(app: FastAPI) -> None:
    """Answer every refusal of this service and every error of the framework in one shape."""
    app.add_exception_handler(Refusal, _on_refusal)
    app.add_exception_handler(InvalidApiKey, _on_invalid_key)
    app.add_exception_handler(InvalidAdminKey, _on_invalid_admin_key)
    app.add_exception_handler(LedgerError, _on_ledger_error)
    outages = OutageLog()

    def on_unavailable(request: Request, error: Exception) -> Response:
        assert isinstance(error, LedgerUnavailable)
        outages.note(error, request.state.request_id)
        wait = {str(Header.RETRY_AFTER): str(UNAVAILABLE_RETRY_AFTER_S)}
        return failure(503, ErrorCode.LEDGER_UNAVAILABLE, UNAVAILABLE, kind=_SERVER, headers=wait)

    app.add_exception_handler(LedgerUnavailable, on_unavailable)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)


def failure(
    status: int,
    code: ErrorCode,
    message: str,
    *,
    kind: str = _CLIENT,
    param: str | None = None,
    remaining: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """One error answer; ``remaining`` only appears where it says something."""
    error = ErrorBody(message=message, type=kind, param=param, code=code, remaining=remaining)
    document = ErrorResponse(error=error).model_dump(mode="json")
    if remaining is None:
        del document["error"]["remaining"]
    return Response(orjson.dumps(document), status, headers, "application/json")


def internal_error(request_id: str) -> Response:
    """A fault of ours; the log has the details under the request id."""
    message = f"Internal error; nothing was delivered. Report request {request_id}."
    return failure(500, ErrorCode.INTERNAL_ERROR, message, kind=_SERVER)


def _on_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return failure(
        error.status, error.code, str(error), kind=error.type, param=error.param, headers=error.headers
    )


def _on_invalid_key(request: Request, error: Exception) -> Response:
    return _unauthorised(str(error))


def _on_invalid_admin_key(request: Request, error: Exception) -> Response:
    return _unauthorised(str(error), ErrorCode.INVALID_ADMIN_KEY)


def _on_ledger_error(request: Request, error: Exception) -> Response:
    message = str(error)
    match error:
        case BudgetExhausted():
            return failure(
                429,
                ErrorCode.INSUFFICIENT_QUOTA,
                message,
                kind="insufficient_quota",
                remaining=error.remaining,
                headers=_quota_headers(error),
            )
        case TooManyReplays():
            wait = {str(Header.RETRY_AFTER): str(math.ceil(error.again_in_ms / 1000))}
            headers = {**wait, Header.SHOULD_RETRY: "false"}
            return failure(429, ErrorCode.RATE_LIMIT_EXCEEDED, message, kind=_RATE, headers=headers)
        case InFlight():
            headers = {str(Header.RETRY_AFTER_MS): str(error.retry_after_ms)}
            return failure(409, ErrorCode.REQUEST_IN_FLIGHT, message, kind=_CONFLICT, headers=headers)
        case IdempotencyMismatch():
            return failure(422, ErrorCode.IDEMPOTENCY_MISMATCH, message, param=Header.IDEMPOTENCY_KEY)
        case KeyExists():
            step = (
                "It was made under this Idempotency-Key, and its text cannot be told again: if it was lost, "
                "revoke that key, and make another under a new Idempotency-Key."
            )
            return failure(409, ErrorCode.KEY_EXISTS, f"{message} {step}", kind=_CONFLICT)
        case BudgetChanged():
            return failure(409, ErrorCode.BUDGET_CHANGED, message, kind=_CONFLICT, param="expected_budget")
        case UnknownKey() | KeyRevoked():
            return _unauthorised(message)
        case HoldExpired():
            wait = {str(Header.RETRY_AFTER): "1"}
            return failure(503, ErrorCode.OVERLOADED, message, kind=_SERVER, headers=wait)
    raise error


def _quota_headers(error: BudgetExhausted) -> dict[str, str]:
    """What is left and, where it would help to wait, how long: never an invitation to retry at once."""
    headers = {
        str(Header.SHOULD_RETRY): "false",
        str(Header.QUERIES_REMAINING): str(error.remaining),
    }
    if error.refills_in_ms is not None and error.needed <= error.budget:
        headers[Header.RETRY_AFTER] = str(-(-error.refills_in_ms // 1000))
    return headers


def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = ErrorCode.NOT_FOUND if error.status_code == 404 else ErrorCode.INVALID_REQUEST
    message = f"{request.method} {request.url.path}: {error.detail}. See /docs."
    return failure(error.status_code, code, message, headers=error.headers)


def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    param = str(first["loc"][-1])
    return failure(422, ErrorCode.INVALID_REQUEST, f"{param}: {first['msg']}.", param=param)


def _unauthorised(message: str, code: ErrorCode = ErrorCode.INVALID_API_KEY) -> Response:
    headers = {"WWW-Authenticate": "Bearer", Header.SHOULD_RETRY: "false"}
    return failure(401, code, message, kind=_AUTH, headers=headers)
