"""Micro-batching: shapes apart, batches bounded, equal images computed once, failures kept to themselves."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import numpy as np
import pytest

from shared.images import InvalidImage
from teacher_service.errors import Overloaded
from teacher_service.inference.batcher import Batcher, Pixels, UndecodableImages
from teacher_service.inference.responses import Descriptor


class Recorder:
    """A model that writes down its batches; image ``b"w,h,..."`` loads as w x h."""

    def __init__(self) -> None:
        self.batches: list[tuple[tuple[int, ...], list[str]]] = []
        self.loads: list[bytes] = []
        self.gate = threading.Event()
        self.gate.set()
        self.fail = False

    def count_pixels(self, data: bytes) -> int:
        return 1 if data.startswith(b"bad") else int(np.prod([int(side) for side in data.split(b",")[:2]]))

    def load(self, data: bytes) -> Pixels:
        self.loads.append(data)
        if data.startswith(b"bad"):
            raise InvalidImage("bad image")
        width, height = map(int, data.split(b",")[:2])
        return np.zeros((height, width, 3), dtype=np.uint8)

    def describe(self, pixels: Pixels, images: Sequence[str]) -> list[Descriptor]:
        assert self.gate.wait(30)
        if self.fail:
            raise RuntimeError("no memory left")
        self.batches.append((pixels.shape, list(images)))
        return [Descriptor(image.encode(), image) for image in images]


def with_batcher(
    model: Recorder, story: Callable[[Batcher], Coroutine[Any, Any, Any]], **changes: Any
) -> Any:
    limits = {"max_batch": 4, "max_wait_ms": 20.0, "max_queue": 100, "decode_threads": 4}

    async def run() -> Any:
        batcher = Batcher(model, **{**limits, **changes})
        try:
            return await asyncio.wait_for(story(batcher), timeout=30)
        finally:
            model.gate.set()
            await batcher.close()

    return asyncio.run(run())


def images(n: int, width: int = 4, height: int = 3, first: int = 0) -> dict[str, bytes]:
    return {f"i{k}": f"{width},{height},{k}".encode() for k in range(first, first + n)}


def test_every_image_gets_its_own_descriptor() -> None:
    found = with_batcher(Recorder(), lambda batcher: batcher.describe(images(11)))
    assert {image: descriptor.digest for image, descriptor in found.items()} == {i: i for i in images(11)}


def test_batches_hold_one_shape_and_at_most_max_batch() -> None:
    model = Recorder()
    wanted = images(9) | images(5, width=6, first=20)
    with_batcher(model, lambda batcher: batcher.describe(wanted))
    assert sum(len(batch) for _, batch in model.batches) == 14
    for shape, batch in model.batches:
        assert shape[0] == len(batch) <= 4
        assert {image in images(9) for image in batch} == {shape[2] == 4}


def test_large_images_go_in_smaller_batches() -> None:
    model = Recorder()
    with_batcher(model, lambda batcher: batcher.describe(images(6)), max_batch_pixels=30)
    assert {len(batch) for _, batch in model.batches} == {2}
    with_batcher(model, lambda batcher: batcher.describe(images(1, first=50)), max_batch_pixels=1)
    assert model.batches[-1][1] == ["i50"]


def test_images_of_different_requests_share_a_batch() -> None:
    model = Recorder()

    async def story(batcher: Batcher) -> None:
        await asyncio.gather(*(batcher.describe(images(1, first=k)) for k in range(4)))

    with_batcher(model, story, max_wait_ms=5_000.0)  # full before the wait is over
    assert [len(batch) for _, batch in model.batches] == [4]


def test_a_lone_image_waits_no_longer_than_told() -> None:
    async def story(batcher: Batcher) -> None:
        async with asyncio.timeout(5):
            await batcher.describe(images(1))

    with_batcher(Recorder(), story, max_wait_ms=10.0)


def test_equal_images_in_flight_are_computed_once() -> None:
    model = Recorder()
    model.gate.clear()

    async def story(batcher: Batcher) -> list[Any]:
        asking = [asyncio.ensure_future(batcher.describe(images(3))) for _ in range(5)]
        while len(model.loads) < 3:
            await asyncio.sleep(0.001)
        assert batcher.queued == 3
        model.gate.set()
        return await asyncio.gather(*asking)

    answers = with_batcher(model, story)
    assert len(model.loads) == 3
    assert all(answer == answers[0] for answer in answers)


def test_the_network_sees_nothing_of_a_request_with_a_bad_image() -> None:
    model = Recorder()

    async def story(batcher: Batcher) -> None:
        with pytest.raises(UndecodableImages) as caught:
            await batcher.describe(images(6) | {"x": b"bad", "y": b"bad too"})
        assert set(caught.value.reasons) == {"x", "y"}
        assert batcher.queued == 0

    with_batcher(model, story)
    assert (len(model.loads), model.batches) == (8, [])


def test_a_bad_image_spoils_no_other_request_even_one_that_shares_its_good_images() -> None:
    model = Recorder()

    async def story(batcher: Batcher) -> None:
        refused, answered = await asyncio.gather(
            batcher.describe(images(3) | {"x": b"bad"}), batcher.describe(images(3)), return_exceptions=True
        )
        assert isinstance(refused, UndecodableImages)
        assert isinstance(answered, dict)
        assert set(answered) == set(images(3))

    with_batcher(model, story)
    assert len(model.loads) == 4
    assert sum(len(batch) for _, batch in model.batches) == 3


def test_images_are_decoded_in_parallel_within_the_pixels_allowed() -> None:
    """Twelve pixels each and 30 allowed: two at a time, though four threads are free."""

    class Counting(Recorder):
        inside, most, lock = 0, 0, threading.Lock()
        both = threading.Barrier(2)

        def load(self, data: bytes) -> Pixels:
            with self.lock:
                self.inside += 1
                self.most = max(self.most, self.inside)
            self.both.wait(30)  # breaks unless two are decoded at the same time
            with self.lock:
                self.inside -= 1
            return super().load(data)

    model = Counting()
    with_batcher(model, lambda batcher: batcher.describe(images(8)), max_decode_pixels=30)
    assert model.most == 2


def test_an_image_above_the_pixels_allowed_is_decoded_alone() -> None:
    assert len(with_batcher(Recorder(), lambda b: b.describe(images(5)), max_decode_pixels=1)) == 5


def test_a_full_queue_refuses_all_or_nothing() -> None:
    model = Recorder()
    model.gate.clear()

    async def story(batcher: Batcher) -> None:
        busy = asyncio.ensure_future(batcher.describe(images(3)))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="3 of 4"):
            await batcher.describe(images(2, first=10))
        await asyncio.sleep(0.05)
        assert len(model.loads) == 3
        joined = asyncio.ensure_future(batcher.describe(images(3)))  # in flight already: needs no room
        model.gate.set()
        await asyncio.gather(busy, joined)
        assert batcher.queued == 0

    with_batcher(model, story, max_queue=4)


def test_a_failing_network_fails_its_batch_and_works_again() -> None:
    model = Recorder()
    model.fail = True

    async def story(batcher: Batcher) -> None:
        with pytest.raises(RuntimeError, match="no memory"):
            await batcher.describe(images(6))
        model.fail = False
        assert len(await batcher.describe(images(6))) == 6

    with_batcher(model, story)


def test_who_gives_up_does_not_take_it_from_the_others() -> None:
    model = Recorder()
    model.gate.clear()

    async def story(batcher: Batcher) -> None:
        first = asyncio.ensure_future(batcher.describe(images(2)))
        second = asyncio.ensure_future(batcher.describe(images(2)))
        while len(model.loads) < 2:
            await asyncio.sleep(0.001)
        first.cancel()
        model.gate.set()
        assert len(await second) == 2

    with_batcher(model, story)


def test_what_everybody_gave_up_while_it_was_decoded_never_reaches_the_network() -> None:
    model, decode = Recorder(), threading.Event()
    model.count_pixels = lambda data: int(decode.wait(30))  # type: ignore[method-assign]

    async def story(batcher: Batcher) -> None:
        asking = asyncio.ensure_future(batcher.describe(images(2)))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert batcher.queued == 2  # its threads are busy still
        decode.set()
        while batcher.queued:
            await asyncio.sleep(0.001)
        assert model.batches == []
        assert len(await batcher.describe(images(2))) == 2  # and it may be asked for again

    with_batcher(model, story)


def test_closing_finishes_what_is_queued() -> None:
    async def story() -> Any:
        model = Recorder()
        batcher = Batcher(model, max_batch=4, max_wait_ms=50.0, max_queue=10, decode_threads=1)
        asking = asyncio.ensure_future(batcher.describe(images(3)))
        await asyncio.sleep(0)
        await batcher.close()
        return await asking

    assert len(asyncio.run(story())) == 3


def test_batches_are_reported() -> None:
    seen: list[tuple[int, float]] = []
    with_batcher(
        Recorder(),
        lambda batcher: batcher.describe(images(6)),
        on_batch=lambda size, seconds: seen.append((size, seconds)),
    )
    assert sum(size for size, _ in seen) == 6
    assert all(seconds >= 0 for _, seconds in seen)
