"""``GET /v1/admin/usage``: who spent how much, by key or by day.

In: one key or all, and a span of days of UTC. Out: rows as JSON or CSV.
"""

from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from shared.admin_protocol import USAGE_PATH, Usage, UsageByDay, UsageByKey
from teacher_service.errors import InvalidRequest
from teacher_service.metering.reporting.tables import DAY_COLUMNS, KEY_COLUMNS, to_csv, usage_cells
from teacher_service.metering.reporting.usage_report import InvalidSpan, Span, usage_by_day, usage_by_key
from teacher_service.routes.admin.door import archive_of, as_seen_by_an_admin

CSV = "text/csv"
_CONTENT: dict[int | str, dict[str, Any]] = {200: {"content": {CSV: {"schema": {"type": "string"}}}}}

router = APIRouter()


@router.get(USAGE_PATH, summary="Usage by key or by day", response_model=Usage, responses=_CONTENT)
async def usage(
    request: Request,
    *,
    by: Annotated[Literal["key", "day"], Query()] = "key",
    key_id: Annotated[str | None, Query()] = None,
    since: Annotated[date | None, Query(description="First day of UTC")] = None,
    until: Annotated[date | None, Query(description="Last day of UTC")] = None,
    format_: Annotated[Literal["json", "csv"] | None, Query(alias="format")] = None,
) -> Any:
    """CSV with ``format=csv`` or ``Accept: text/csv``."""
    try:
        span = Span(since, until)
    except InvalidSpan as error:
        raise InvalidRequest(str(error), param="until") from None
    as_csv = format_ == "csv" or (format_ is None and CSV in request.headers.get("accept", ""))
    ledger = archive_of(request)
    with as_seen_by_an_admin(key_id):
        if by == "day":
            days = await usage_by_day(ledger, span, key_id)
            if as_csv:
                return _csv(to_csv(usage_cells(days), DAY_COLUMNS))
            return UsageByDay(rows=days)
        keys = await usage_by_key(ledger, span, key_id)
    if as_csv:
        return _csv(to_csv(usage_cells(keys), KEY_COLUMNS))
    return UsageByKey(rows=keys)


def _csv(text: str) -> Response:
    return Response(text, media_type=CSV)
