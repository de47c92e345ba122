"""The descriptor cache: it saves computation, never budget.

In: a teacher revision and the image digests of a whole request. Out: the descriptors computed before, as far
as they are at hand. What is in it decides nothing about what a request is charged.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Protocol

from teacher_service.inference.responses import Descriptor

OVERHEAD_BYTES = 440
"""Of one entry beside its values: key, digest, dictionary slot and object headers (measured, Python 3.11)."""


class DescriptorCache(Protocol):
    """Where descriptors are kept between requests. Nothing here raises: what is not at hand is computed."""

    async def get(self, revision: str, images: Iterable[str]) -> dict[str, Descriptor]:
        """Image digest -> descriptor, for those of ``images`` that are at hand."""

    async def put(self, revision: str, descriptors: Mapping[str, Descriptor]) -> None:
        """Keep descriptors, by image digest, for as long as there is room."""

    async def reachable(self) -> bool:
        """Whether it answers at all."""

    async def close(self) -> None:
        """Disconnect."""


class MemoryCache:
    """Least recently used, bounded in bytes, in this process; for use on one event loop."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[tuple[str, str], Descriptor] = OrderedDict()
        self.bytes_used = 0

    async def get(self, revision: str, images: Iterable[str]) -> dict[str, Descriptor]:
        """The descriptors at hand, which become the most recently used."""
        found: dict[str, Descriptor] = {}
        for image in images:
            descriptor = self._entries.get((revision, image))
            if descriptor is not None:
                self._entries.move_to_end((revision, image))
                found[image] = descriptor
        return found

    async def put(self, revision: str, descriptors: Mapping[str, Descriptor]) -> None:
        """Keep descriptors, and drop the least recently used ones that no longer fit."""
        for image, descriptor in descriptors.items():
            self._put(revision, image, descriptor)

    async def reachable(self) -> bool:
        """Always."""
        return True

    async def close(self) -> None:
        """Nothing to disconnect from."""

    def _put(self, revision: str, image: str, descriptor: Descriptor) -> None:
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
