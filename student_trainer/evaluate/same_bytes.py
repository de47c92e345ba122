"""Which images are the same one, whatever they are called: files of the same bytes.

In: paths of images that are there. Out: for each, where it stands among others. A file whose size no other
has is not read.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from student_trainer.distil.images import digest_files
from student_trainer.errors import InvalidInput

Places = NDArray[np.int64]


def places_among(images: Sequence[Path], others: Sequence[Path]) -> tuple[Places, ...]:
    """For each image the places in ``others`` of files with its bytes: its own too, and copies of it.

    Returns:
        Per image int64 [copies], sorted; empty where none of the others is the same.

    Raises:
        InvalidInput: a file cannot be read.
    """
    contents = _contents([*images, *others])
    found: dict[str, list[int]] = defaultdict(list)
    for place, content in enumerate(contents[len(images) :]):
        found[content].append(place)
    places = {content: np.array(listed, dtype=np.int64) for content, listed in found.items()}
    nowhere = np.empty(0, dtype=np.int64)
    return tuple(places.get(content, nowhere) for content in contents[: len(images)])


def _contents(paths: Sequence[Path]) -> list[str]:
    """What is equal for files of equal bytes: the digest, or of a file of a size of its own the name."""
    names = [os.path.realpath(path) for path in paths]
    try:
        sizes = {name: Path(name).stat().st_size for name in names}
    except OSError as error:
        raise InvalidInput(f"The image {error.filename} cannot be read: {error.strerror}.") from None
    of_size = Counter(sizes.values())
    several = [Path(name) for name, size in sizes.items() if of_size[size] > 1]
    digests = {str(image.path): image.digest for image in digest_files(several)}
    return [digests.get(name, name) for name in names]
