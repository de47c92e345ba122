"""The running service: its stations, and what it takes to start and stop them in order.

In: settings. Out: :class:`Service`, which the routes reach through the application's state. Building loads
the teacher and may take seconds; starting opens the ledger, whose holds must have no other owner.
"""

import asyncio
import os
from dataclasses import dataclass, field
from typing import Any, cast

from starlette.requests import Request

from shared.protocol import ModelCard
from teacher_service.access.admin_key import AdminKey, load_admin_key
from teacher_service.access.turnstile import Turnstile
from teacher_service.admission.bodies import BodyReader
from teacher_service.admission.bytes_in_flight import BytesInFlight
from teacher_service.admission.pace import Pace
from teacher_service.embed import Stations
from teacher_service.inference.batcher import Batcher
from teacher_service.inference.teacher import Teacher, build_teacher
from teacher_service.logs import log
from teacher_service.metering.archive import Archive
from teacher_service.metering.ledger import SigningKeyChanged
from teacher_service.metering.signing import KEY_FILE
from teacher_service.metering.stores import ledger_is_there, place_of_ledger
from teacher_service.metrics import Metrics
from teacher_service.settings import Settings
from teacher_service.sharing import check_sharing
from teacher_service.state import load_signer, open_cache, open_rates, open_store


@dataclass
class Service:
    """What the routes need."""

    settings: Settings
    teacher: Teacher
    stations: Stations
    archive: Archive
    """The ledger of the stations, for whoever administers it."""
    admin_key: AdminKey | None
    bodies: BodyReader
    bytes_in_flight: BytesInFlight
    card: ModelCard
    metrics: Metrics
    in_flight: set[asyncio.Task[Any]] = field(default_factory=set)
    """Requests that run to their end whatever their clients do."""
    warm: str = "warming up"
    """``ok`` once the network has run; else why it has not."""
    _warming: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the ledger, and warm the network up in the background.

        Raises:
            InvalidArgument: the cache is in the ledger's own database.
            LedgerError: the ledger cannot be opened.
        """
        for warning in await check_sharing(self.settings):
            log("start", level="warning", reason=warning)
        await self._tell_new_ledger()
        await self.archive.open()
        await self._check_signing_key()
        self._warming = asyncio.create_task(self._warm_up())

    async def _tell_new_ledger(self) -> None:
        """A mistyped place is no error, and would pass unseen: its new ledger is healthy."""
        url = self.settings.ledger_url
        if not await ledger_is_there(url):
            log("new_ledger", place=place_of_ledger(url), reason="there was none, so this start makes one")

    async def _check_signing_key(self) -> None:
        """Clients hold receipts of the key that was there before, and refuse those of another.

        Raises:
            SigningKeyChanged: this service has another one.
        """
        own = self.card.public_key
        bound = await self.archive.bind(own, anew=self.settings.accept_new_signing_key)
        if bound != own:
            await self.archive.close()
            raise SigningKeyChanged(
                f"The receipts of this ledger are signed by {bound[:12]}, the {KEY_FILE} in "
                f"{self.settings.data_dir} makes {own[:12]}: clients would refuse them. Copy {KEY_FILE} from "
                "where it was served before. To go on under the new key all the same: "
                "--accept-new-signing-key, once."
            )

    async def stop(self) -> None:
        """Let what is in flight settle, then close everything."""
        await asyncio.gather(*self.in_flight, return_exceptions=True)
        if self._warming is not None:
            await self._warming
        await self.stations.batcher.close()
        await self.stations.cache.close()
        await self.stations.rates.close()
        await self.stations.ledger.close()

    async def _warm_up(self) -> None:
        side = self.settings.image_size
        try:
            await self.stations.batcher.warm_up((side * 3 // 4, side))
            self.warm = "ok"
        except Exception as error:
            self.warm = f"the network failed: {type(error).__name__}"
            log("warm_up_failed", level="error", error=error)


def build_service(settings: Settings) -> Service:
    """Load the teacher and the signing key and set up the stations; the ledger is not opened yet.

    Raises:
        DataDirUnusable, InvalidArgument, TeacherUnusable
    """
    admin_key = load_admin_key(settings.admin_key, settings.admin_key_file)
    signer = load_signer(settings.data_dir)
    ledger = open_store(settings, serve=True)
    teacher = build_teacher(settings)  # last, as it takes longest
    metrics = Metrics()
    batcher = Batcher(
        teacher,
        max_batch=settings.max_batch,
        max_wait_ms=settings.max_wait_ms,
        max_queue=settings.max_queue,
        decode_threads=settings.decode_threads or os.cpu_count() or 1,
        max_decode_pixels=settings.max_decode_pixels,
        on_batch=metrics.batch,
    )
    metrics.watch_queue(lambda: batcher.queued)
    stations = Stations(
        ledger=ledger,
        rates=open_rates(settings),
        turnstile=Turnstile(),
        cache=open_cache(settings, teacher.dimension, metrics.cache_failed),
        batcher=batcher,
        signer=signer,
        model_id=teacher.model_id,
        revision=teacher.revision,
    )
    card = ModelCard(
        id=teacher.model_id,
        revision=teacher.revision,
        dimension=teacher.dimension,
        description=teacher.description,
        limits=settings.limits,
        public_key=signer.public_key,
    )
    pace = Pace(settings.body_timeout_s, settings.body_min_bytes_per_s)
    bodies = BodyReader(teacher.model_id, teacher.dimension, settings.limits, pace)
    bytes_in_flight = BytesInFlight(
        settings.max_bytes_in_flight,
        # One request of the largest size is always let in.
        most_of_one_key=max(settings.max_bytes_in_flight // 2, settings.max_request_bytes),
    )
    return Service(
        settings=settings,
        teacher=teacher,
        stations=stations,
        archive=ledger,
        admin_key=admin_key,
        bodies=bodies,
        bytes_in_flight=bytes_in_flight,
        card=card,
        metrics=metrics,
    )


def service_of(request: Request) -> Service:
    """The service behind a request."""
    return cast(Service, request.app.state.service)
