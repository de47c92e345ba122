"""The descriptor cache: it saves computation, never budget.

In: (teacher revision, image digest). Out: the descriptor computed before, or nothing. What is in it decides
nothing about what a request is charged.
"""

from collections import OrderedDict
from typing import Protocol

from teacher_service.inference.responses import Descriptor

OVERHEAD_BYTES = 440
"""Of one entry beside its values: key, digest, dictionary slot and object headers (measured, Python 3.11)."""


class DescriptorCache(Protocol):
    """Where descriptors are kept between requests."""

    async def get(self, revision: str, image: str) -> Descriptor | None:
        """The descriptor of an image, or None."""

    async def put(self, revision: str, image: str, descriptor: Descriptor) -> None:
        """Keep a descriptor for as long as there is room."""


class MemoryCache:
    """Least recently used, bounded in bytes, in this process; for use on one event loop."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[tuple[str, str], Descriptor] = OrderedDict()
        self.bytes_used = 0

    async def get(self, revision: str, image: str) -> Descriptor | None:
        """The descriptor of an image, which becomes the most recently used, or None."""
        descriptor = self._entries.get((revision, image))
        if descriptor is not None:
            self._entries.move_to_end((revision, image))
        return descriptor

    async def put(self, revision: str, image: str, descriptor: Descriptor) -> None:
        """Keep a descriptor, and drop the least recently used ones that no longer fit."""
        replaced = self._entries.pop((revision, image), None)
        if replaced is not None:
            self.bytes_used -= _cost(replaced)
        self._entries[revision, image] = descriptor
        self.bytes_used += _cost(descriptor)
        while self.bytes_used > self._max_bytes:
            _, dropped = self._entries.popitem(last=False)
            self.bytes_used -= _cost(dropped)

    def __len__(self) -> int:
        return len(self._entries)


def _cost(descriptor: Descriptor) -> int:
    return len(descriptor.data) + OVERHEAD_BYTES
