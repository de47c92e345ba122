"""The wire of administration: what whoever runs the service sends and gets under ``/v1/admin``.

In and out: JSON, with the same shape of errors as the rest of the API. No I/O.
"""

from datetime import date
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from shared.chain import Billing, Count, Window

KEYS_PATH = "/v1/admin/keys"
KEY_PATH = KEYS_PATH + "/{key_id}"
USAGE_PATH = "/v1/admin/usage"
EXPORT_PATH = "/v1/admin/export"
MAX_NAME = 200


class _Asked(BaseModel):
    """A body: unknown members are refused, so that a slip of the pen cannot pass for a default."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True)


class KeyRequest(_Asked):
    """Body of ``POST /v1/admin/keys``."""

    name: str = Field(min_length=1, max_length=MAX_NAME)
    """Whom the key is for."""
    budget: Annotated[StrictInt, Field(ge=0, le=2**53 - 1)] | StrictStr
    """Queries in all, or text such as ``1000/day``."""
    rate: str = ""
    """Images per period, such as ``600/minute``; empty for no limit."""
    billing: Billing = "distinct"


class GrantRequest(_Asked):
    """Body of ``POST /v1/admin/keys/{key_id}/grants``."""

    queries: int = Field(ge=1, le=2**53 - 1)
    """To add to the budget (of each window)."""
    expected_budget: Count | None = None
    """Grant only if the budget is this one now: a repeated request then never grants twice."""


class KeyAccount(_Told):
    """A key as whoever administers it sees it; salt and hash stay in the ledger."""

    model_config = ConfigDict(from_attributes=True)

    key_id: str
    name: str
    billing: Billing
    rate: str
    budget: int
    """Queries in all, or for each window."""
    window: Window
    window_ends_at_ms: int | None
    """Milliseconds since 1970; null for a budget in total."""
    used: int
    """Queries charged in all."""
    used_in_window: int
    held: int
    remaining: int
    """budget - used_in_window - held; 0 for a revoked key."""
    revoked: bool
    created_at_ms: int


class CreatedKey(KeyAccount):
    """Answer of ``POST /v1/admin/keys``."""

    key: str
    """The key's text: it exists nowhere else, and is told this once."""


class KeyList(_Told):
    """``GET /v1/admin/keys``, oldest first."""

    object: Literal["list"] = "list"
    data: list[KeyAccount]


class UsageOfKey(_Told):
    """One key in ``GET /v1/admin/usage?by=key``: its account now, and what it did on the days asked for."""

    key_id: str
    name: str
    budget: int
    window: Window
    window_ends_at_ms: int | None
    """Milliseconds since 1970; None for a budget in total."""
    used: int
    used_in_window: int
    held: int
    remaining: int
    """Queries that the key can still buy."""
    revoked: bool
    requests: int
    """Settled requests of the days asked for; ``charged`` and ``replayed`` are of the same days."""
    charged: int
    replayed: int


class UsageOfDay(_Told):
    """One day of one key in ``GET /v1/admin/usage?by=day``; days without a settled request are left out."""

    day: date
    """Of UTC."""
    key_id: str
    name: str
    requests: int
    charged: int
    replayed: int


class UsageByKey(_Told):
    """``GET /v1/admin/usage?by=key``, oldest key first."""

    by: Literal["key"] = "key"
    rows: list[UsageOfKey]


class UsageByDay(_Told):
    """``GET /v1/admin/usage?by=day``, oldest day first."""

    by: Literal["day"] = "day"
    rows: list[UsageOfDay]


Usage: TypeAlias = Annotated[UsageByKey | UsageByDay, Field(discriminator="by")]
