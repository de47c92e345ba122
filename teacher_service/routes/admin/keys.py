"""``/v1/admin/keys``: hand out, look at, raise and withdraw API keys.

In: names, budgets, key ids. Out: accounts; the text of a key is told once, when it is made.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header
from starlette.requests import Request
from starlette.responses import Response

from shared.admin_protocol import (
    KEY_PATH,
    KEYS_PATH,
    CreatedKey,
    GrantRequest,
    KeyAccount,
    KeyList,
    KeyRequest,
)
from shared.protocol import ErrorResponse
from shared.protocol import Header as Names
from teacher_service.access.budgets import InvalidBudget, parse_budget
from teacher_service.access.keys import key_id_for, mint
from teacher_service.access.rates import InvalidRate, parse_rate
from teacher_service.errors import InvalidRequest
from teacher_service.metering.ledger import KeyRecord, NewKey
from teacher_service.metering.refusals import unknown_key
from teacher_service.routes.admin.door import archive_of, as_seen_by_an_admin, body_of, documented_body
from teacher_service.routes.embeddings import MAX_IDEMPOTENCY_KEY

IdempotencyKey = Annotated[
    str | None, Header(alias=Names.IDEMPOTENCY_KEY.value, min_length=1, max_length=MAX_IDEMPOTENCY_KEY)
]
_WITH_A_BODY: dict[int | str, dict[str, Any]] = {
    409: {"model": ErrorResponse, "description": "It was done before, or the key is in another state"},
    413: {"model": ErrorResponse, "description": "Too large a body"},
    415: {"model": ErrorResponse, "description": "Another body than JSON"},
}

router = APIRouter()


@router.post(
    KEYS_PATH,
    status_code=201,
    summary="Make an API key",
    responses=_WITH_A_BODY,
    openapi_extra=documented_body(KeyRequest),
)
async def create_key(
    request: Request,
    response: Response,
    asked: Annotated[KeyRequest, Depends(body_of(KeyRequest))],
    idempotency_key: IdempotencyKey = None,
) -> CreatedKey:
    """The key's text is in this answer and nowhere else.

    With an ``Idempotency-Key``, a repeated request makes no second key: it is told the id of the first.
    """
    text, new = _minted(asked, idempotency_key)
    try:
        record = await archive_of(request).create_key(new)
    except ValueError as error:
        raise InvalidRequest(str(error)) from None
    response.headers["Cache-Control"] = "no-store"
    return CreatedKey(**_done(request, record).model_dump(), key=text)


@router.get(KEYS_PATH, summary="All API keys and their accounts")
async def list_keys(request: Request) -> KeyList:
    """Oldest first, revoked ones too."""
    return KeyList(data=[_account(record) for record in await archive_of(request).keys()])


@router.get(KEY_PATH, summary="One API key and its account")
async def get_key(request: Request, key_id: str) -> KeyAccount:
    """As of the ledger's last commit."""
    with as_seen_by_an_admin(key_id):
        record = await archive_of(request).key(key_id)
        if record is None:
            raise unknown_key(key_id)
        return _account(record)


@router.post(
    KEY_PATH + "/grants",
    summary="Raise a key's budget",
    responses=_WITH_A_BODY,
    openapi_extra=documented_body(GrantRequest),
)
async def grant(
    request: Request,
    key_id: str,
    asked: Annotated[GrantRequest, Depends(body_of(GrantRequest))],
    idempotency_key: IdempotencyKey = None,
) -> KeyAccount:
    """With ``expected_budget`` a repeated request never grants twice; the second is answered 409."""
    if idempotency_key is not None:  # ignored, it would promise what it does not keep
        raise InvalidRequest(
            "A grant takes no Idempotency-Key. Send the budget that you saw as expected_budget instead: "
            "then the grant is made once at most.",
            param=Names.IDEMPOTENCY_KEY,
        )
    try:
        with as_seen_by_an_admin(key_id):
            record = await archive_of(request).grant(
                key_id, asked.queries, expected_budget=asked.expected_budget
            )
    except ValueError as error:
        raise InvalidRequest(str(error), param="queries") from None
    return _done(request, record)


@router.post(KEY_PATH + "/revoke", summary="Withdraw an API key for good")
async def revoke(request: Request, key_id: str) -> KeyAccount:
    """Its holds are dropped: what is in flight delivers nothing. Revoking twice changes nothing."""
    with as_seen_by_an_admin(key_id):
        return _done(request, await archive_of(request).revoke(key_id))


def _minted(asked: KeyRequest, idempotency_key: str | None) -> tuple[str, NewKey]:
    """Raises InvalidRequest: budget or rate cannot be."""
    try:
        budget = parse_budget(str(asked.budget))
        parse_rate(asked.rate)
    except InvalidBudget as error:
        raise InvalidRequest(str(error), param="budget") from None
    except InvalidRate as error:
        raise InvalidRequest(str(error), param="rate") from None
    return mint(
        asked.name,
        budget.queries,
        asked.rate,
        asked.billing,
        budget.window,
        key_id=None if idempotency_key is None else key_id_for(idempotency_key),
    )


def _done(request: Request, record: KeyRecord) -> KeyAccount:
    """The account after a change, whose key the log names beside the request."""
    request.state.account = {"key_id": record.key_id}
    return _account(record)


def _account(record: KeyRecord) -> KeyAccount:
    return KeyAccount.model_validate(record).model_copy(update={"remaining": record.spendable})
