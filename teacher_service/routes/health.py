"""``/healthz``, ``/readyz`` and ``/metrics``: for whoever runs the service; no key is needed.

In: nothing. Out: alive, ready to serve or why not, and counters without keys or names.
"""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shared.protocol import HealthResponse
from teacher_service.logs import log
from teacher_service.metering.ledger import LedgerError
from teacher_service.metrics import CONTENT_TYPE
from teacher_service.service import service_of

router = APIRouter()


@router.get("/healthz", summary="The process is alive")
async def healthz() -> HealthResponse:
    """Says nothing about the ledger: restarting this process would not mend it."""
    return HealthResponse(status="ok")


@router.get(
    "/readyz",
    summary="The network is warm and the ledger can be written",
    response_model=HealthResponse,
    responses={503: {"model": HealthResponse, "description": "Not ready; the checks say why"}},
)
async def readyz(request: Request) -> Response:
    """200 if requests can be served, else 503; cache and rates are told, and decide nothing."""
    service = service_of(request)
    checks = {"teacher": service.warm, "ledger": "ok"}
    try:
        await service.stations.ledger.ping()
    except LedgerError as error:
        checks["ledger"] = "cannot be written"
        log("ledger_not_ready", level="warning", reason=str(error))
    ready = all(state == "ok" for state in checks.values())
    # Replicas share these: whoever took all of them out of service would refuse also what they can serve.
    rates, cache = service.stations.rates, service.stations.cache
    checks["rates"] = "ok" if await rates.reachable() else "down: keys with a rate are refused"
    checks["cache"] = "ok" if await cache.reachable() else "down: everything is computed"
    health = HealthResponse(status="ok" if ready else "unavailable", checks=checks)
    return JSONResponse(health.model_dump(mode="json"), 200 if ready else 503)


@router.get("/metrics", summary="Counters in Prometheus' text format", response_class=Response)
async def metrics(request: Request) -> Response:
    """Requests, charges, replays, batches and the queue."""
    return Response(service_of(request).metrics.page(), headers={"Content-Type": CONTENT_TYPE})
