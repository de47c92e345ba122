"""Which images this process settled lately: what is asked for again is most often one of them.

In: reservations as they are settled. Out: whether it is worth a look if a request owes nothing. That look
saves a replay one of its two commits; for new images it is in vain, and dearer the longer the ledger is.
"""

from teacher_service.metering.ledger import Reservation

MOST_IMAGES = 65_536
"""About 6 MB."""


class SettledLately:
    """Remembers hashes: two images that share one cost a look in vain, nothing else."""

    def __init__(self, most_images: int = MOST_IMAGES) -> None:
        self._most_images = most_images
        self._hashes: dict[int, None] = {}

    def add(self, reservation: Reservation) -> None:
        """All its images are paid now."""
        for image in reservation.images:
            self._hashes[_hash(reservation, image)] = None
        while len(self._hashes) > self._most_images:
            del self._hashes[next(iter(self._hashes))]

    def has_all(self, reservation: Reservation) -> bool:
        """Whether every image was settled for the same key and revision not long ago."""
        return all(_hash(reservation, image) in self._hashes for image in reservation.images)


def _hash(reservation: Reservation, image: str) -> int:
    return hash((reservation.key_id, reservation.teacher_revision, image))
