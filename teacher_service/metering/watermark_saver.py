"""Keeps the file of watermarks up to date while a ledger is served from.

In: what was seen. Out: the file, about a second behind, and up to date once the ledger is closed. No request
waits for it: what a crash keeps from being saved is what the store could lose unnoticed.
"""

import asyncio
import contextlib
import sqlite3

from teacher_service.logs import log
from teacher_service.metering.watermarks import Watermarks

SAVE_EVERY_S = 1.0


class WatermarkSaver:
    """A task that runs until it is stopped; for use on one event loop.

    Args:
        watermarks: what to save.
        every_s: seconds between two savings; one that has nothing new touches no file.
    """

    def __init__(self, watermarks: Watermarks, every_s: float = SAVE_EVERY_S) -> None:
        self._watermarks = watermarks
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; a second call does nothing."""
        if self._task is None and self._watermarks.kept:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End, and save what is new; also where it was never begun."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self._save()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            await self._save()

    async def _save(self) -> None:
        try:
            await asyncio.to_thread(self._watermarks.save)
        except (OSError, sqlite3.Error) as error:  # made up for at the next turn
            log("watermarks_not_saved", level="warning", reason=str(error))
