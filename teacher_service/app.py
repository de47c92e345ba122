"""The application: routes around one service. Wiring only."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from teacher_service.envelope import Envelope
from teacher_service.routes import admin, embeddings, failures, health, ledger, models, usage
from teacher_service.service import build_service
from teacher_service.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """Build the service that ``settings`` describe; its ledger opens when the server starts the application.

    Raises:
        CommandFailed: the teacher or the data folder cannot be used.
    """
    service = build_service(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="teacher-service",
        summary="A rate-limited, metered embedding API around one teacher network.",
        version="1",
        lifespan=lifespan,
    )
    app.state.service = service
    app.add_middleware(Envelope, metrics=service.metrics)
    failures.install(app)
    for module in (embeddings, models, usage, ledger, admin, health):
        app.include_router(module.router)
    return app
