"""Bounds the pixels that are decoded at the same time, by all threads together.

In: how many pixels an image claims. Out: a turn to decode it. A decoded image takes up to eight bytes a pixel
while it is laid out, so that this, not the number of threads, bounds the memory of decoding.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class PixelGate:
    """A semaphore with weights; an image above the bound passes alone.

    Args:
        max_pixels: sum of the pixels behind the gate.
    """

    def __init__(self, max_pixels: int) -> None:
        self._free = self._most = max_pixels
        self._entrance = threading.Lock()
        self._changed = threading.Condition()

    @contextmanager
    def passage(self, pixels: int) -> Iterator[None]:
        """Wait in this thread for room, and keep it until the block ends."""
        share = min(pixels, self._most)
        # One waits for room at a time, or small images would overtake a large one for ever.
        with self._entrance, self._changed:
            self._changed.wait_for(lambda: self._free >= share)
            self._free -= share
        try:
            yield
        finally:
            with self._changed:
                self._free += share
                self._changed.notify()
