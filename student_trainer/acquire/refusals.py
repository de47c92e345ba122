"""What an unsuccessful answer means: come back later, or never.

In: status, headers and body of an answer. Out: a :class:`Fault` to be tried again, or an error that ends
the attempt. No I/O.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from shared.protocol import ErrorBody, ErrorCode, ErrorResponse, Header
from student_trainer.acquire.pacing import hinted_wait_s
from student_trainer.errors import BudgetTooSmall, RevisionChanged, ServiceRefused

_RETRIED_STATUSES = frozenset({408, 409, 429})
_RATE_LIMITED, _UNAVAILABLE = 429, 503
_IMAGE_CODES = frozenset({ErrorCode.INVALID_IMAGE, ErrorCode.IMAGE_TOO_LARGE})


@dataclass(frozen=True)
class Fault:
    """A failure that may pass; the request is sent again, unchanged."""

    reason: str
    wait_s: float | None = None
    """What the server asks for, if it does."""
    concerns_all: bool = False
    """Other requests would fail alike: rate limit, or the service is overloaded."""
    is_rate_limit: bool = False
    may_be_paid: bool = False
    """The service may have settled the request, and its answer was lost on the way."""


class Refused(ServiceRefused):
    """The service answered, and trying again would not help."""

    def __init__(self, message: str, status: int, error: ErrorBody | None = None) -> None:
        super().__init__(message)
        self.status, self.error = status, error
        self.may_be_paid = False
        """An earlier try of the same request may have been settled, its answer lost."""

    def image_index(self, images: int) -> int | None:
        """Which of the request's ``images`` is to blame, where the refusal is about one image."""
        if self.error is None or self.error.code not in _IMAGE_CODES:
            return 0 if self.is_too_large and images == 1 else None
        digits = re.findall(r"\d+", self.error.param or "")
        index = int(digits[-1]) if digits else 0 if images == 1 else images
        return index if index < images else None

    @property
    def is_too_large(self) -> bool:
        """Fewer images in a request might pass."""
        return self.error is not None and self.error.code is ErrorCode.REQUEST_TOO_LARGE


class QuotaExhausted(BudgetTooSmall):
    """The budget, or this window of it, does not hold enough for the request; nothing of it was charged."""

    def __init__(self, error: ErrorBody) -> None:
        super().__init__(error.message)
        self.remaining = error.remaining or 0
        """Queries left for a smaller request."""
        self.may_be_paid = False
        """An earlier try of the same request may yet be settled, its answer lost."""


def read_failure(status: int, headers: Mapping[str, str], body: bytes) -> Fault:
    """Tell a passing failure from a final one.

    Raises:
        QuotaExhausted: the budget is exhausted.
        RevisionChanged: another teacher is served than the one that the request insists on.
        Refused: anything else that would be repeated.
    """
    error = _error_of(body)
    told = f"{error.code}: {error.message}" if error else f"HTTP {status} without an explanation"
    if error and error.code is ErrorCode.INSUFFICIENT_QUOTA:
        raise QuotaExhausted(error)
    if error and error.code is ErrorCode.REVISION_MISMATCH:
        raise RevisionChanged(
            f"{error.message} What is held stays as it is: have the first teacher served again, or plan "
            "into another run folder."
        )
    may_pass = status in _RETRIED_STATUSES or status >= 500
    if not may_pass or headers.get(Header.SHOULD_RETRY) == "false":
        raise Refused(f"The service refused the request for good ({status}, {told})", status, error)
    return Fault(
        reason=told,
        wait_s=hinted_wait_s(headers, time.time()),
        concerns_all=status in (_RATE_LIMITED, _UNAVAILABLE),
        is_rate_limit=status == _RATE_LIMITED,
        may_be_paid=error is None,
    )


def _error_of(body: bytes) -> ErrorBody | None:
    """OpenAI's error object; None where a proxy or another kind of server answered."""
    try:
        return ErrorResponse.model_validate_json(body).error
    except ValidationError:
        return None
