"""How many of the images that are measured on a model has learned from, by the bytes of their files.

In: contestants, and the paths that they are measured on. Out: for each, its part of the evaluation document.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from student_trainer.distil.images import digest_files
from student_trainer.evaluate.contestant import Contestant
from student_trainer.evaluate.document import LearnedImages


def digests_to_compare(contestants: Iterable[Contestant], paths: Iterable[Path]) -> list[str]:
    """Of each file once; none where nobody knows which images were learned from, since files are many.

    Raises:
        InvalidInput: a file cannot be read.
    """
    known = any(contestant.learned_images for contestant in contestants)
    return [image.digest for image in digest_files(dict.fromkeys(paths))] if known else []


def met_before(contestant: Contestant, digests: Sequence[str]) -> LearnedImages | None:
    """What it has seen of them; None where nobody knows what it learned from."""
    learned = contestant.learned_images
    if not learned:
        return None
    shared = sum(digest in learned for digest in digests)
    return LearnedImages(learned=len(learned), measured=len(digests), shared=shared)
