"""A teacher that is an API, as a model among others: its descriptors are bought before anything is compared.

In: a benchmark, the files that beside it need a descriptor, and the service. Out: a
:class:`~student_trainer.evaluate.describing.Sight` over what was bought.

A query asks with a box of its image. The box is cut out here and shrunk by the factor by which the service
shrinks the whole image, then sent as PNG, which loses nothing: the service sees the pixels that a network at
hand would see. The files are kept: the same bytes are the same query.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from shared.digest import digest_of_list, float_text, sha256_hex
from shared.extraction import Corners, load_part
from shared.images import InvalidImage, Preprocessing
from shared.vectors import Float32Rows
from student_trainer.acquire import session
from student_trainer.acquire.client import Access
from student_trainer.acquire.plan import limits_of
from student_trainer.datasets.ground_truth import Benchmark
from student_trainer.errors import InvalidInput, StorageFailed
from student_trainer.evaluate.blocks import Rows
from student_trainer.evaluate.describing import Boxes
from student_trainer.evaluate.purchase import Purchased, purchase
from student_trainer.run_folder import RunFolder

_TINY = np.finfo(np.float32).tiny
_UNSHRUNK_PX = 65_500
"""Longer than any image that is accepted: for a service that does not say how it shrinks."""


@dataclass(frozen=True)
class AskedTeacher:
    """What the teacher said of every image, and of every box."""

    purchased: Purchased
    longest_side_px: int | None
    """None where the service does not say."""
    crops: Mapping[tuple[Path, Corners], Path]
    """(image, box) -> the file that was sent."""

    @property
    def dim(self) -> int:
        """See :class:`student_trainer.evaluate.describing.Sight`."""
        return self.purchased.teacher.dim

    def rows(self, paths: Sequence[Path], boxes: Boxes | None = None) -> Float32Rows:
        """See :class:`student_trainer.evaluate.describing.Sight`; KeyError for what was not bought.

        A teacher need not promise unit length, and may round: the rows are brought to it here.
        """
        parts = [None] * len(paths) if boxes is None else boxes
        files = [
            path if box is None else self.crops[path, box] for path, box in zip(paths, parts, strict=True)
        ]
        found = [self.purchased.vectors[self.purchased.digests[file]] for file in files]
        rows = np.stack(found) if found else np.empty((0, self.dim), dtype=np.float32)
        unit: Float32Rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _TINY)
        return unit

    def stored(self, paths: Sequence[Path], boxes: Boxes | None = None, *, half: bool = False) -> Rows:
        """The same: the evaluation set is where they are stored."""
        rows = self.rows(paths, boxes)
        return rows.astype(np.float16) if half else rows


def ask(
    run: RunFolder, benchmark: Benchmark, others: Sequence[Path], access: Access, *, yes: bool = False
) -> AskedTeacher:
    """Buy the descriptors of database, query boxes and ``others``, after saying what they cost.

    Raises:
        TrainerError: see :func:`student_trainer.evaluate.purchase.purchase`.
    """
    card, _ = session.meet(access)
    longest_side_px = _longest_side_px(card.description)
    crops = {
        (path, truth.box): _crop(run.evaluation_crops, path, truth.box, longest_side_px)
        for path, truth in zip(benchmark.query_paths, benchmark.ground_truth, strict=True)
        if truth.box is not None
    }
    whole = [
        path
        for path, truth in zip(benchmark.query_paths, benchmark.ground_truth, strict=True)
        if truth.box is None
    ]
    paths = list(dict.fromkeys([*benchmark.image_paths, *whole, *crops.values(), *others]))
    found = purchase(run, paths, access, limits_of(card.limits), yes=yes)
    return AskedTeacher(found, longest_side_px, crops)


def _longest_side_px(description: Mapping[str, object]) -> int | None:
    preprocessing = description.get("preprocessing")
    side = preprocessing.get("longest_side_px") if isinstance(preprocessing, Mapping) else None
    return side if isinstance(side, int) and side > 0 else None


def _crop(folder: Path, path: Path, box: Corners, longest_side_px: int | None) -> Path:
    """The file to send for a box; one that was written before is sent again, since it may be paid for."""
    try:
        digest = sha256_hex(path.read_bytes())
        name = digest_of_list([digest, *map(float_text, box), str(longest_side_px)])
        file = folder / f"{name[:32]}.png"
        if not file.is_file():
            pixels = load_part(path, box, Preprocessing(longest_side_px or _UNSHRUNK_PX, apply_exif=False))
            _write(file, pixels)
    except (InvalidImage, OSError) as error:
        raise InvalidInput(f"The box of a query cannot be cut out: {error} Nothing was spent.") from None
    return file


def _write(file: Path, pixels: np.ndarray) -> None:
    """Whole or not at all; the same pixels give the same bytes."""
    unfinished = file.with_suffix(".part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(unfinished, format="PNG", compress_level=6)
        unfinished.replace(file)
    except OSError as error:
        raise StorageFailed(f"{file} cannot be written: {error}. Nothing was spent.") from None
