"""Lower layers that are not trained: features computed once, and steps that cost the upper layers alone.

In: a student, the number of its trunk's first modules that stay as they are, and the training images. Out:
the part that is trained, and a file of what it is given in place of pixels.

A frozen layer with frozen statistics gives the same features at every step. So training on kept features is
the same computation as training on pixels with these layers held fixed, for a fraction of the work: the lower
layers are those with large maps. What it costs in quality has to be
measured; ``docs/results.md`` does for one data set.
"""

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from shared.batch_norm import modes_kept
from shared.checkpoints import weights_digest
from shared.digest import digest_of_document
from shared.network import DescriptorNet
from shared.pooling import l2_normalise
from shared.whole_files import write_whole
from student_trainer.distil.arrays import ArrayStore, map_file, remove_stores
from student_trainer.distil.batches import BatchSource, as_features
from student_trainer.distil.processes import ALONE
from student_trainer.distil.student import build_untrained
from student_trainer.errors import InvalidInput, StorageFailed
from student_trainer.progress import progress
from student_trainer.recipe import Recipe


class UpperPart(nn.Module):
    """Features [B, C, h, w] of the frozen layers -> descriptors [B, dim]; its weights are the student's."""

    def __init__(self, student: DescriptorNet, trained_from: int) -> None:
        super().__init__()
        self.trunk = student.trunk[trained_from:]  # type: ignore[index]
        self.pool = student.pool
        self.whiten = student.whiten

    def forward(self, features: Tensor) -> Tensor:
        """As the student's own forward from that layer on."""
        descriptors = l2_normalise(self.pool(self.trunk(features)))
        return descriptors if self.whiten is None else l2_normalise(self.whiten(descriptors))


def check_trained_from(recipe: Recipe) -> None:
    """Refuse a recipe that freezes every layer, before an image is read for it.

    Raises:
        InvalidInput: the trunk has no layer left to train, or there is no such architecture.
    """
    if recipe.student.trained_from:
        with torch.device("meta"):  # its shape alone
            student = build_untrained(recipe)
        _check_depth(student, recipe.student.trained_from)


def trained_part(student: DescriptorNet, trained_from: int) -> nn.Module:
    """What a step describes images with: the student itself where nothing is frozen.

    The weights of the frozen layers no longer ask for a gradient.

    Raises:
        InvalidInput: the trunk has no layer left to train.
    """
    if not trained_from:
        return student
    _check_depth(student, trained_from)
    student.trunk[:trained_from].requires_grad_(False)  # type: ignore[index]
    return UpperPart(student, trained_from)


def with_features(
    source: BatchSource, student: DescriptorNet, trained_from: int, folder: Path
) -> BatchSource:
    """The same batches, as features of the frozen layers: computed now, or read if they were before.

    Args:
        source: of pixels.
        student: on its device; only its first ``trained_from`` modules are used, in evaluation mode.
        trained_from: the first module that is trained; 0 returns the source as it is.
        folder: for the file of features; an older one of other images or layers is removed.

    Raises:
        StorageFailed: the disk is full.
    """
    if not trained_from:
        return source
    frozen: nn.Module = student.trunk[:trained_from]  # type: ignore[index]
    path = folder / f"features-{_key(source, student, trained_from)[:16]}.f32"
    with source.processes.first_goes_ahead():
        if not (_index(path).exists() and path.exists()):
            try:
                _compute(source, frozen, path)
            except OSError as error:
                with suppress(OSError):  # make room again
                    path.unlink(missing_ok=True)
                raise StorageFailed(f"Cannot write features to {folder}: {error}.") from None
    return replace(source, store=_open(path), enter=as_features)


def _check_depth(student: DescriptorNet, trained_from: int) -> None:
    layers = len(student.trunk)  # type: ignore[arg-type]
    if trained_from >= layers:
        raise InvalidInput(
            f"student.trained_from = {trained_from}: the trunk of {student.spec.arch} has {layers} modules, "
            f"counted from 0. The last that can be trained alone is {layers - 1}."
        )


def _compute(source: BatchSource, frozen: nn.Module, path: Path) -> None:
    """Write the features, [h, w, C] each, then the index: what has an index is whole."""
    remove_stores(path.parent, "features-*")
    places: dict[int, tuple[int, tuple[int, ...]]] = {}
    written = 0
    everything = np.arange(len(source.store))
    shown = source.processes.first
    with path.open("wb") as file, progress("Frozen layers", len(everything), "images", shown=shown) as bar:
        for chunk in replace(source, processes=ALONE).chunks(everything):
            with modes_kept(frozen), torch.no_grad():
                features = frozen.eval()(chunk.images)
            rows = features.permute(0, 2, 3, 1).contiguous().cpu().numpy()
            for position, row in zip(chunk.positions.tolist(), rows, strict=True):
                places[position] = (written, row.shape)
                written += row.size
            file.write(rows.data)
            bar.advance(len(rows))
    write_whole(_index(path), json.dumps([places[position] for position in everything.tolist()]))


def _open(path: Path) -> ArrayStore:
    places = json.loads(_index(path).read_text())
    shapes = tuple(tuple(shape) for _, shape in places)
    elements = sum(int(np.prod(shape)) for shape in shapes)
    return ArrayStore(map_file(path, np.float32, elements), tuple(offset for offset, _ in places), shapes)


def _index(path: Path) -> Path:
    return path.with_suffix(".json")


def _key(source: BatchSource, student: DescriptorNet, trained_from: int) -> str:
    """Of all that the features depend on.

    The number of modules is named, because weights alone do not tell where the frozen part ends: a ReLU or a
    pooling has none.
    """
    return digest_of_document(
        {
            "images": [image.digest for image in source.data.images],
            "preprocessing": source.preprocessing.description(),
            "shapes": [list(shape) for shape in source.store.shapes],
            "arch": student.spec.arch,
            "modules": trained_from,
            "weights": weights_digest(student.trunk[:trained_from]),  # type: ignore[index]
        }
    )
