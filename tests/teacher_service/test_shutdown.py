"""An orderly stop: what is in flight is finished, settled and answered before the ledger closes."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from shared.protocol import Header
from teacher_service.metering.sqlite.store import SqliteLedger


def test_a_stop_finishes_the_requests_in_flight(
    start_service: Callable[..., Any], photo: Callable[..., bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("stop")
    service = start_service(data_dir=folder)
    key = service.key()
    entered, go_on = threading.Event(), threading.Event()
    model = service.service.stations.batcher._model

    class Slow:
        describe, count_pixels = model.describe, model.count_pixels

        def load(self, data: bytes) -> Any:
            entered.set()
            assert go_on.wait(30)
            return model.load(data)

    service.service.stations.batcher._model = Slow()
    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(service.embed(key, photo(1))))
    asking.start()
    assert entered.wait(30)
    service.server.should_exit = True
    with pytest.raises(httpx.TransportError):  # no new connection is taken ...
        while True:
            service.usage(key)
    go_on.set()
    asking.join(timeout=30)
    assert answers[0].status_code == 200  # ... and the old one gets its answer
    assert answers[0].headers[Header.QUERIES_CHARGED] == "1"

    async def used() -> int:
        ledger = SqliteLedger(folder / "ledger.sqlite", serve=False)
        await ledger.open()
        try:
            record = await ledger.key(key.split("_")[1])
            assert record is not None
            return record.used
        finally:
            await ledger.close()

    assert asyncio.run(used()) == 1
