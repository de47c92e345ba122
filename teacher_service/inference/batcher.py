"""Micro-batching: single images of many requests become batches of one shape for the network.

In: encoded images by digest. Out: a descriptor for each, or what is wrong with it. Equal images in flight are
computed once, whichever keys asked. Decoding runs in a pool of threads and the network in one thread of its
own, so the event loop only ever waits. The queue is bounded: beyond it, requests are refused at once.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.images import InvalidImage
from teacher_service.errors import Overloaded
from teacher_service.inference.responses import Descriptor

Pixels = NDArray[np.uint8]


class Model(Protocol):
    """What is batched: a loader of single images, and a network for batches of one shape."""

    def load(self, data: bytes) -> Pixels:
        """Encoded image -> uint8 [H, W, 3]. Raises InvalidImage."""

    def describe(self, pixels: Pixels, images: Sequence[str]) -> list[Descriptor]:
        """uint8 [B, H, W, 3] of the images with these digests -> a descriptor for each."""


@dataclass(slots=True)
class _Waiting:
    image: str
    pixels: Pixels
    since_s: float
    done: asyncio.Future[Descriptor]


class Batcher:
    """Queues, batches and runs; one for each process, on one event loop."""

    def __init__(
        self,
        model: Model,
        *,
        max_batch: int,
        max_batch_pixels: int = 8_000_000,
        max_wait_ms: float,
        max_queue: int,
        decode_threads: int,
        on_batch: Callable[[int, float], None] = lambda images, seconds: None,
    ) -> None:
        self._model = model
        self._max_batch, self._max_batch_pixels = max_batch, max_batch_pixels
        self._max_wait_s, self._max_queue = max_wait_ms / 1000, max_queue
        self._on_batch = on_batch
        self._decoders = ThreadPoolExecutor(decode_threads, thread_name_prefix="decode")
        self._network = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._flights: dict[str, asyncio.Task[Descriptor]] = {}
        self._groups: dict[tuple[int, ...], deque[_Waiting]] = {}
        self._running: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def queued(self) -> int:
        """Images that are being decoded, waiting, or in the network."""
        return len(self._flights)

    async def describe(self, images: Mapping[str, bytes]) -> dict[str, Descriptor | InvalidImage]:
        """Encoded images by digest -> descriptors by digest, or why an image has none.

        Raises:
            Overloaded: the queue has no room for all of them; none was queued.
        """
        fresh = [image for image in images if image not in self._flights]
        if self.queued + len(fresh) > self._max_queue:
            raise Overloaded(
                f"The queue is full: {self.queued} of {self._max_queue} images are waiting. Try again soon."
            )
        for image in fresh:
            self._flights[image] = asyncio.create_task(self._describe_one(image, images[image]))
        flights = [self._flights[image] for image in images]
        # A request that is given up must not take with it what another one waits for.
        outcomes = await asyncio.gather(*map(asyncio.shield, flights), return_exceptions=True)
        return dict(zip(images, map(_outcome, outcomes), strict=True))

    async def warm_up(self, shape: tuple[int, int]) -> None:
        """Run the network once on an empty image of [H, W], so that no client pays for the first time."""
        blank = np.zeros((1, *shape, 3), dtype=np.uint8)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._network, self._model.describe, blank, ["warm-up"])

    async def close(self) -> None:
        """Finish what is queued and end the threads."""
        await asyncio.gather(*self._flights.values(), return_exceptions=True)
        self._decoders.shutdown()
        self._network.shutdown()

    async def _describe_one(self, image: str, data: bytes) -> Descriptor:
        loop = asyncio.get_running_loop()
        try:
            pixels = await loop.run_in_executor(self._decoders, self._model.load, data)
            waiting = _Waiting(image, pixels, time.monotonic(), loop.create_future())
            self._queue(waiting)
            return await waiting.done
        finally:
            del self._flights[image]

    def _queue(self, waiting: _Waiting) -> None:
        self._groups.setdefault(waiting.pixels.shape, deque()).append(waiting)
        self._start_batch()

    def _start_batch(self) -> None:
        """Give the network its next batch if it is free; the end of each batch comes back here."""
        if self._running is not None:
            return
        if batch := self._next_batch():
            self._running = asyncio.create_task(self._run(batch))
        elif self._groups and self._timer is None:
            due_s = min(group[0].since_s for group in self._groups.values()) + self._max_wait_s
            wait_s = max(0.0, due_s - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._on_timer)

    def _on_timer(self) -> None:
        # An event loop's clock may run a few milliseconds behind: too early, the timer is set again.
        self._timer = None
        self._start_batch()

    def _next_batch(self) -> list[_Waiting]:
        """Of the groups that are full or have waited long enough, the one with the oldest image."""
        due_since_s = time.monotonic() - self._max_wait_s
        ready = [
            (group[0].since_s, shape)
            for shape, group in self._groups.items()
            if len(group) >= self._most(shape) or group[0].since_s <= due_since_s
        ]
        if not ready:
            return []
        _, shape = min(ready)
        group = self._groups[shape]
        batch = [group.popleft() for _ in range(min(self._most(shape), len(group)))]
        if not group:
            del self._groups[shape]
        return batch

    def _most(self, shape: tuple[int, ...]) -> int:
        """Images of a shape in one batch: fewer of large ones, as activations grow with the pixels."""
        return max(1, min(self._max_batch, self._max_batch_pixels // (shape[0] * shape[1])))

    async def _run(self, batch: list[_Waiting]) -> None:
        started_s = time.monotonic()
        try:
            loop = asyncio.get_running_loop()
            descriptors = await loop.run_in_executor(self._network, self._compute, batch)
            for waiting, descriptor in zip(batch, descriptors, strict=True):
                waiting.done.set_result(descriptor)
        except Exception as error:
            for waiting in batch:
                if not waiting.done.done():
                    waiting.done.set_exception(error)
        finally:
            self._on_batch(len(batch), time.monotonic() - started_s)
            self._running = None
            self._start_batch()

    def _compute(self, batch: Sequence[_Waiting]) -> list[Descriptor]:
        pixels = np.stack([waiting.pixels for waiting in batch])
        return self._model.describe(pixels, [waiting.image for waiting in batch])


def _outcome(result: Any) -> Descriptor | InvalidImage:
    """A descriptor or a bad image is an answer; any other failure is the caller's to raise."""
    if isinstance(result, Descriptor | InvalidImage):
        return result
    raise result
