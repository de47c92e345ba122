"""Everything that can go wrong in the service: what a client is told, and what stops a command.

::

    Refusal                       an answer in OpenAI's error shape; charges nothing
    ├── InvalidRequest      400   malformed body, unknown encoding, remote URL
    ├── InvalidInputImage   400   an image that is no image; ``param`` is ``input[3]``
    ├── ModelNotFound       404   another model's name
    ├── NotFound            404   no such key; or administration over HTTP is switched off
    ├── UnknownParameter    422   a query parameter that the path does not have
    ├── KeyIsRevoked        409   a grant to a key that was revoked
    ├── TooSlow             408   the body stalls, or trickles
    ├── RevisionMismatch    412   another teacher than the one that the request insists on
    ├── TooLarge            413   body, image, pixels or number of images
    ├── UnsupportedMedia    415   neither JSON, multipart nor image/*
    ├── RateLimited         429   come back after ``Retry-After``
    └── Overloaded          503   the queue is full, or too many bytes are in flight

    CommandFailed                 exit code and one line on standard error
    ├── Failed              1     something else; the message says what to do next
    ├── InvalidArgument     2     a flag, setting or name that cannot be
    ├── AddressInUse        3     the port is taken
    ├── DataDirUnusable     4     the data folder cannot be written, or another server holds its ledger
    ├── TeacherUnusable     5     unknown architecture, unreadable checkpoint or weights
    └── VerificationFailed  7     a chain of the ledger does not hold, or the ledger was rolled back

What the ledger refuses is drawn in ``metering/ledger.py``; ``routes/failures.py`` answers all of it.
"""

from collections.abc import Mapping
from typing import ClassVar

from shared.protocol import ErrorCode, Header

OVERLOADED_RETRY_AFTER_S = 2


class Refusal(Exception):
    """A request that is answered with an error; nothing was charged for it."""

    status: ClassVar[int] = 400
    code: ErrorCode = ErrorCode.INVALID_REQUEST
    type: ClassVar[str] = "invalid_request_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: ErrorCode | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.param = param
        self.code = code or type(self).code
        self.headers = dict(headers or {})


class InvalidRequest(Refusal):
    """The body is malformed."""


class InvalidInputImage(Refusal):
    """One image cannot be used; ``param`` says which."""

    code = ErrorCode.INVALID_IMAGE


class ModelNotFound(Refusal):
    """The request names a model that is not served here."""

    status = 404
    code = ErrorCode.MODEL_NOT_FOUND


class NotFound(Refusal):
    """What the path names is not there."""

    status = 404
    code = ErrorCode.NOT_FOUND


class UnknownParameter(Refusal):
    """A query parameter that the path does not have: ignored, it would answer another question."""

    status = 422


class KeyIsRevoked(Refusal):
    """Who administers a key asks for what a revoked one cannot have."""

    status = 409
    code = ErrorCode.KEY_REVOKED
    type = "conflict_error"


class TooSlow(Refusal):
    """The body does not arrive as fast as is expected; what of it is on its way is not read."""

    status = 408
    code = ErrorCode.REQUEST_TIMEOUT

    def __init__(self, message: str) -> None:
        super().__init__(message, headers={"Connection": "close"})


class RevisionMismatch(Refusal):
    """The request insists on a teacher revision that is not served here."""

    status = 412
    code = ErrorCode.REVISION_MISMATCH

    def __init__(self, wanted: str, served: str) -> None:
        super().__init__(
            f"This service answers with teacher revision {served[:12]}, the request insists on "
            f"{wanted[:12]}. Nothing was charged. Compare GET /v1/models.",
            param=Header.TEACHER_REVISION,
            headers={Header.SHOULD_RETRY: "false"},
        )


class TooLarge(Refusal):
    """More bytes, pixels or images than are admitted."""

    status = 413
    code = ErrorCode.REQUEST_TOO_LARGE


class UnsupportedMedia(Refusal):
    """The body is of a kind that is not understood."""

    status = 415
    code = ErrorCode.UNSUPPORTED_MEDIA_TYPE


class RateLimited(Refusal):
    """Too many images in the current window."""

    status = 429
    code = ErrorCode.RATE_LIMIT_EXCEEDED
    type = "rate_limit_error"


class Overloaded(Refusal):
    """The queue before the network is full, or the bodies of all requests together are too large."""

    status = 503
    code = ErrorCode.OVERLOADED
    type = "server_error"

    def __init__(self, message: str) -> None:
        super().__init__(message, headers={Header.RETRY_AFTER: str(OVERLOADED_RETRY_AFTER_S)})


class CommandFailed(Exception):
    """Root of what stops a command."""

    exit_code: ClassVar[int] = 1


class Failed(CommandFailed):
    """Something else; the message says what to do next."""


class InvalidArgument(CommandFailed):
    """A flag, setting or name that cannot be."""

    exit_code = 2


class AddressInUse(CommandFailed):
    """The port is taken."""

    exit_code = 3


class DataDirUnusable(CommandFailed):
    """The data folder cannot be written, or the ledger cannot be opened: another server holds it, too."""

    exit_code = 4


class TeacherUnusable(CommandFailed):
    """Unknown architecture, unreadable checkpoint or weights."""

    exit_code = 5


class VerificationFailed(CommandFailed):
    """A chain of the ledger does not hold, or the ledger is older than what was seen of it."""

    exit_code = 7
