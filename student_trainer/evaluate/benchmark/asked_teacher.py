"""A teacher that is an API, as a model among others: its descriptors are bought before anything is compared.

In: a benchmark, the files that beside it need a descriptor, and the service. Out: a
:class:`~student_trainer.evaluate.describing.Sight` over what was bought.

The service is to see the pixels that a network at hand would see. A query asks with a box of its image: that
is cut out here and shrunk by the factor by which the service shrinks the whole image. A photograph that the
service would turn upright by its EXIF orientation, which benchmarks ignore, is shrunk here as well. Both are
sent as PNG, which loses nothing. The files are kept: the same bytes are the same query.
"""

import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

from shared.digest import digest_of_list, float_text, sha256_hex
from shared.exif import is_turned
from shared.extraction import Corners, load_part
from shared.images import InvalidImage, Preprocessing
from shared.vectors import Float32Rows
from shared.whole_files import write_whole
from student_trainer.acquire import session
from student_trainer.acquire.answers import introduce
from student_trainer.acquire.client import Access
from student_trainer.acquire.plan import limits_of
from student_trainer.datasets.ground_truth import Benchmark
from student_trainer.errors import InvalidInput, StorageFailed
from student_trainer.evaluate.benchmark import stated
from student_trainer.evaluate.benchmark.purchase import Purchased, purchase
from student_trainer.evaluate.describing import Boxes
from student_trainer.evaluate.search.blocks import Rows
from student_trainer.run_folder import RunFolder

_TINY = np.finfo(np.float32).tiny
_UNSHRUNK_PX = 65_500
"""Longer than any image that is accepted: for a service that does not say how it shrinks."""


Part: TypeAlias = tuple[Path, Corners | None]
"""An image, and the box of it that is described, or None for all of it."""


@dataclass(frozen=True)
class AskedTeacher:
    """What the teacher said of every image, and of every box."""

    purchased: Purchased
    longest_side_px: int | None
    """None where the service does not say."""
    sent: Mapping[Part, Path]
    """The file that was sent in an image's place: for every box, and for photographs that are turned."""

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
            self.sent.get((path, None), path) if box is None else self.sent[path, box]
            for path, box in zip(paths, parts, strict=True)
        ]
        found = [self.purchased.vectors[self.purchased.digests[file]] for file in files]
        rows = np.stack(found) if found else np.empty((0, self.dim), dtype=np.float32)
        unit: Float32Rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _TINY)
        return unit

    def stored(self, paths: Sequence[Path], boxes: Boxes | None = None, *, half: bool = False) -> Rows:
        """The same, in memory: the evaluation set is where they are stored, as they were sent.

        ``half`` rounds them as other models' rows are rounded, and saves no room on the disk.
        """
        rows = self.rows(paths, boxes)
        return rows.astype(np.float16) if half else rows


def ask(
    run: RunFolder, benchmark: Benchmark, others: Sequence[Path], access: Access, *, yes: bool = False
) -> AskedTeacher:
    """Buy the descriptors of database, query boxes and ``others``, after saying what they cost.

    Boxes and photographs that are turned are cut and shrunk before it is known what must be bought, because
    what is sent is known by its bytes.

    Raises:
        StorageFailed: what is to be sent cannot be kept.
        TrainerError: see :func:`student_trainer.evaluate.benchmark.purchase.purchase`.
    """
    card, usage = session.meet(access)
    teacher = introduce(access.url, card, usage)
    parts: list[Part] = [(path, None) for path in (*benchmark.image_paths, *others)]
    parts += zip(benchmark.query_paths, (truth.box for truth in benchmark.ground_truth), strict=True)
    turned = _turned(parts) if stated.turns_upright(teacher.description) else set()
    altered = [part for part in parts if part[1] is not None or part in turned]
    longest_side_px = stated.longest_side_px(teacher.description)
    sent = {part: _as_sent(run.evaluation_crops, *part, longest_side_px) for part in altered}
    paths = list(dict.fromkeys(sent.get(part, part[0]) for part in parts))
    found = purchase(run, paths, access, teacher, limits_of(card.limits), yes=yes)
    return AskedTeacher(found, longest_side_px, sent)


def _turned(parts: Sequence[Part]) -> set[Part]:
    """The whole photographs that the service would turn upright."""
    whole = [part for part in parts if part[1] is None]
    with ThreadPoolExecutor() as pool:
        return set(compress(whole, pool.map(is_turned, (path for path, _ in whole))))


def _as_sent(folder: Path, path: Path, box: Corners | None, longest_side_px: int | None) -> Path:
    """The file to send for a part; one that was written before is sent again, since it may be paid for."""
    try:
        digest = sha256_hex(path.read_bytes())
        part = ["whole"] if box is None else list(map(float_text, box))
        name = digest_of_list([digest, *part, str(longest_side_px)])
        file = folder / f"{name[:32]}.png"
        if not file.is_file():
            pixels = load_part(path, box, Preprocessing(longest_side_px or _UNSHRUNK_PX, apply_exif=False))
            _write(file, pixels)
    except (InvalidImage, OSError) as error:
        what = "The box of a query cannot be cut out" if box is not None else "A photograph cannot be read"
        raise InvalidInput(f"{what}: {error} Nothing was spent.") from None
    return file


def _write(file: Path, pixels: np.ndarray) -> None:
    """Whole or not at all; the same pixels give the same bytes."""
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, format="PNG", compress_level=6)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, encoded.getvalue())
    except OSError as error:
        raise StorageFailed(f"{file} cannot be written: {error}. Nothing was spent.") from None
