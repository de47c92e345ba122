"""Micro-batching: single images of many requests become batches of one shape for the network.

In: encoded images by digest. Out: a descriptor for each, or which of them are undecodable. Equal images in
flight are computed once, whichever keys asked. Decoding runs in a pool of threads and the network in one
thread of its own, so the event loop only ever waits. The queue is bounded: beyond it, requests are refused at
once. The network sees no image of a request before all are decoded: a refusal must not buy computation.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.images import InvalidImage
from teacher_service.errors import Overloaded
from teacher_service.inference.pixel_gate import PixelGate
from teacher_service.inference.responses import Descriptor

Pixels = NDArray[np.uint8]
Result = TypeVar("Result")


class Model(Protocol):
    """What is batched: a loader of single images, and a network for batches of one shape."""

    def count_pixels(self, data: bytes) -> int:
        """Pixels of an encoded image before it is shrunk, by its header. Raises InvalidImage."""

    def load(self, data: bytes) -> Pixels:
        """Encoded image -> uint8 [H, W, 3]. Raises InvalidImage."""

    def describe(self, pixels: Pixels, images: Sequence[str]) -> list[Descriptor]:
        """uint8 [B, H, W, 3] of the images with these digests -> a descriptor for each."""


class UndecodableImages(Exception):
    """Images of one request that cannot be decoded; ``reasons`` are by digest."""

    def __init__(self, reasons: Mapping[str, InvalidImage]) -> None:
        super().__init__(f"{len(reasons)} images cannot be decoded")
        self.reasons = dict(reasons)


@dataclass(slots=True, eq=False)
class _Flight:
    """One image on its way, whoever asked; the network sees it once all images of some request are good."""

    decoding: asyncio.Task[Pixels]
    computing: asyncio.Task[Descriptor] | None = None
    askers: int = 0


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
        max_decode_pixels: int = 100_000_000,
        on_batch: Callable[[int, float], None] = lambda images, seconds: None,
    ) -> None:
        self._model = model
        self._max_batch, self._max_batch_pixels = max_batch, max_batch_pixels
        self._max_wait_s, self._max_queue = max_wait_ms / 1000, max_queue
        self._on_batch = on_batch
        self._decoders = ThreadPoolExecutor(decode_threads, thread_name_prefix="decode")
        self._gate = PixelGate(max_decode_pixels)
        self._network = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._flights: dict[str, _Flight] = {}
        self._groups: dict[tuple[int, ...], deque[_Waiting]] = {}
        self._running: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def queued(self) -> int:
        """Images that are being decoded, waiting, or in the network."""
        return len(self._flights)

    async def describe(self, images: Mapping[str, bytes]) -> dict[str, Descriptor]:
        """Encoded images by digest -> descriptors by digest.

        Raises:
            UndecodableImages: some cannot be decoded; for this request, the network saw none.
            Overloaded: the queue has no room for all of them; none was queued.
        """
        fresh = [image for image in images if image not in self._flights]
        if self.queued + len(fresh) > self._max_queue:
            raise Overloaded(
                f"The queue is full: {self.queued} of {self._max_queue} images are waiting. Try again soon."
            )
        for image in fresh:
            self._take_off(image, images[image])
        flights = {image: self._flights[image] for image in images}
        for flight in flights.values():
            flight.askers += 1
        try:
            await _arrivals({image: flight.decoding for image, flight in flights.items()})
            return await _arrivals({image: self._onward(image, flight) for image, flight in flights.items()})
        finally:
            for image, flight in flights.items():
                flight.askers -= 1
                self._forget_if_unwanted(image, flight)

    async def warm_up(self, shape: tuple[int, int]) -> None:
        """Run the network once on an empty image of [H, W], so that no client pays for the first time."""
        blank = np.zeros((1, *shape, 3), dtype=np.uint8)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._network, self._model.describe, blank, ["warm-up"])

    async def close(self) -> None:
        """Finish what is queued and end the threads."""
        while self._flights:
            await asyncio.wait([flight.computing or flight.decoding for flight in self._flights.values()])
        self._decoders.shutdown()
        self._network.shutdown()

    def _take_off(self, image: str, data: bytes) -> None:
        flight = _Flight(asyncio.create_task(self._decode(data)))
        self._flights[image] = flight
        flight.decoding.add_done_callback(lambda _: self._forget_if_unwanted(image, flight))

    def _onward(self, image: str, flight: _Flight) -> asyncio.Task[Descriptor]:
        """On to the network, unless another request has sent it there."""
        if flight.computing is None:
            flight.computing = asyncio.create_task(self._describe_one(image, flight.decoding.result()))
        return flight.computing

    def _forget_if_unwanted(self, image: str, flight: _Flight) -> None:
        """A decoded image whose every request was refused or given up goes no further."""
        unwanted = flight.askers == 0 and flight.computing is None and flight.decoding.done()
        if unwanted and self._flights.get(image) is flight:
            del self._flights[image]

    async def _decode(self, data: bytes) -> Pixels:
        return await asyncio.get_running_loop().run_in_executor(self._decoders, self._load, data)

    def _load(self, data: bytes) -> Pixels:
        with self._gate.passage(self._model.count_pixels(data)):
            return self._model.load(data)

    async def _describe_one(self, image: str, pixels: Pixels) -> Descriptor:
        try:
            waiting = _Waiting(image, pixels, time.monotonic(), asyncio.get_running_loop().create_future())
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


async def _arrivals(tasks: Mapping[str, asyncio.Task[Result]]) -> dict[str, Result]:
    """What all tasks give, by image. Raises UndecodableImages, or else the first failure of another kind."""
    # A request that is given up must not take with it what another one waits for.
    outcomes = await asyncio.gather(*map(asyncio.shield, tasks.values()), return_exceptions=True)
    found = dict(zip(tasks, outcomes, strict=True))
    if reasons := {image: reason for image, reason in found.items() if isinstance(reason, InvalidImage)}:
        raise UndecodableImages(reasons)
    return {image: task.result() for image, task in tasks.items()}
