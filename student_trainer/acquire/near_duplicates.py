"""Near-duplicates, found before they are paid for: the same photograph saved again or made smaller.

In: decoded images; later candidates with their fingerprints. Out: which candidates show what another shows.

A fingerprint is the image shrunk to 9 x 8 pixels. Its 64 bits say of each pixel whether its right neighbour
is darker (the difference hash that N. Krawetz described in 2013), which survives scaling, recompression and
changes of brightness. Two images are near-duplicates if at most ``RADIUS`` bits differ and the small images
themselves differ by little: where there is next to nothing to see (a clear sky, a blank wall), bits agree
by chance.

Every near-duplicate is within these bounds of an image that is kept, so chains of small changes do not
sweep away what is different. Cost: a candidate is compared only with kept images that share one of its four
groups of 16 bits, since three changed bits leave one group unchanged.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from student_trainer.acquire.records import PlannedImage

RADIUS = 3
"""Bits out of 64."""
MEAN_DIFFERENCE = 8.0
"""Of the small images, over pixels and colours, in levels out of 255."""
_GROUPS, _GROUP_BITS = 4, 16
_WIDTH, _HEIGHT = 9, 8


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What is kept of an image to find its near-duplicates."""

    bits: int
    pixels: bytes
    """uint8 [8, 9, 3]."""

    def is_near(self, other: "Fingerprint") -> bool:
        """Whether two images are near-duplicates."""
        if (self.bits ^ other.bits).bit_count() > RADIUS:
            return False
        mine, theirs = (
            np.frombuffer(pixels, np.uint8).astype(np.int16) for pixels in (self.pixels, other.pixels)
        )
        return float(np.abs(mine - theirs).mean()) <= MEAN_DIFFERENCE

    def groups(self) -> Iterator[tuple[int, int]]:
        """The four groups of bits, each with its number."""
        for group in range(_GROUPS):
            yield group, (self.bits >> (group * _GROUP_BITS)) & (2**_GROUP_BITS - 1)


def fingerprint(image: Image.Image) -> Fingerprint:
    """Of an upright RGB image of any size."""
    small = image.resize((_WIDTH, _HEIGHT), Image.Resampling.BOX)
    grey = np.asarray(small.convert("L")).astype(np.int16)
    darker = (grey[:, 1:] < grey[:, :-1]).flatten()
    return Fingerprint(int.from_bytes(np.packbits(darker).tobytes(), "big"), small.tobytes())


def find(
    images: Sequence[PlannedImage],
    fingerprints: Mapping[str, Fingerprint],
    keep: Collection[str] = (),
) -> dict[PlannedImage, PlannedImage]:
    """Near-duplicate -> the image that is kept in its place.

    Of images that are near one another, the one with the most pixels is kept; of equals, the one with the
    smallest digest, so that names and order do not matter.

    Args:
        images: distinct candidates.
        fingerprints: by image digest.
        keep: digests of images that are kept in any case, such as those that are paid for.
    """
    paid = frozenset(keep)
    order = sorted(
        images, key=lambda image: (image.digest not in paid, -image.width * image.height, image.digest)
    )
    kept: dict[tuple[int, int], list[int]] = {}
    found: dict[PlannedImage, PlannedImage] = {}
    for rank, image in enumerate(order):
        mine = fingerprints[image.digest]
        rivals = {rival for group in mine.groups() for rival in kept.get(group, ())}
        near = [rival for rival in rivals if mine.is_near(fingerprints[order[rival].digest])]
        if near and image.digest not in paid:
            found[image] = order[min(near)]
        else:
            for group in mine.groups():
                kept.setdefault(group, []).append(rank)
    return found
