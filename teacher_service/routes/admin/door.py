"""The door to administration: who may come in, what a body may hold, and what a missing key is called here.

In: a request. Out: nothing, a checked body, or a refusal. The admin key is looked at before anything is read.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

from fastapi import Depends
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from shared.admin_protocol import KEYS_PATH
from shared.protocol import ErrorResponse
from teacher_service.access.admin_key import InvalidAdminKey
from teacher_service.errors import (
    InvalidRequest,
    KeyIsRevoked,
    NotFound,
    TooLarge,
    UnknownParameter,
    UnsupportedMedia,
)
from teacher_service.logs import log
from teacher_service.metering.archive import Archive
from teacher_service.metering.ledger import KeyRevoked, UnknownKey
from teacher_service.service import service_of

MAX_BODY_BYTES = 16_384

Body = TypeVar("Body", bound=BaseModel)

_BEARER = HTTPBearer(scheme_name="AdminKey", description="The admin key of the service", auto_error=False)

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorResponse, "description": what}
    for status, what in {
        400: "A parameter or body that cannot be",
        401: "Not the admin key",
        404: "No such key, or administration over HTTP is switched off",
        422: "A parameter that cannot be",
        503: "Ledger unavailable",
    }.items()
}


async def admin(
    request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
) -> None:
    """Let the admin key in. Raises NotFound where there is none, InvalidAdminKey for any other."""
    admin_key = service_of(request).admin_key
    if admin_key is None:
        raise NotFound(
            "Administration over HTTP is switched off. Start the service with TEACHER_ADMIN_KEY "
            "or --admin-key-file, or use: teacher-service keys."
        )
    try:
        admin_key.check(request.headers.get("authorization"))
    except InvalidAdminKey:
        client = request.client.host if request.client else None
        log("admin_refused", level="warning", request_id=request.state.request_id, client=client)
        raise


def only_known_parameters(request: Request) -> None:
    """Raises UnknownParameter for what the route would ignore, such as ``key`` instead of ``key_id``."""
    known = {field.alias for field in request.scope["route"].dependant.query_params}
    for name in request.query_params:
        if name not in known:
            takes = f"known are {', '.join(sorted(known))}" if known else "this path takes none"
            raise UnknownParameter(f"The query parameter {name!r} is not known: {takes}.", param=name)


def archive_of(request: Request) -> Archive:
    """The ledger behind a request."""
    return service_of(request).archive


def body_of(model: type[Body]) -> Callable[[Request], Awaitable[Body]]:
    """A dependency that reads a JSON body; declared as a parameter, it would be read before the door."""

    async def read(request: Request) -> Body:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise UnsupportedMedia(
                f"Cannot read a body of type {media_type or '(none)'!r}: send application/json."
            )
        data = b""
        async for chunk in request.stream():
            data += chunk
            if len(data) > MAX_BODY_BYTES:
                raise TooLarge(f"The body has more than the {MAX_BODY_BYTES:,} bytes that are accepted.")
        try:
            return model.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False, include_context=False)[0]
            param = str(first["loc"][0]) if first["loc"] else None
            raise InvalidRequest(f"{param or 'The body'}: {first['msg']}.", param=param) from None

    return read


def documented_body(model: type[BaseModel]) -> dict[str, Any]:
    """What the API document says of a body that :func:`body_of` reads."""
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


@contextmanager
def as_seen_by_an_admin(key_id: str | None = None) -> Iterator[None]:
    """Here a key that is unknown or revoked is the request's object, not its credential: no 401."""
    try:
        yield
    except UnknownKey as error:
        named = "no key of this id" if key_id is None else f"no key {key_id}"
        raise NotFound(f"There is {named}. List the keys with GET {KEYS_PATH}.", param="key_id") from error
    except KeyRevoked as error:
        raise KeyIsRevoked("Nothing was granted: this key was revoked for good. Make another.") from error
