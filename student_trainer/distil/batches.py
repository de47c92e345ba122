"""One batch on the device: its images in chunks, and what the teacher or the labels say of them.

In: decoded images, their data, which rows. Out: normalised chunks for the trunk, for each of several
processes its share, and rows of tensors.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.images import Preprocessing, normalise
from student_trainer.distil.arrays import ArrayStore
from student_trainer.distil.backward import Chunk
from student_trainer.distil.data import TrainingData
from student_trainer.distil.processes import ALONE, Processes
from student_trainer.distil.views import AS_DECODED, StudentViews

Rows = NDArray[np.int64]


def as_images(values: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Pixels uint8 [b, H, W, 3] -> normalised float32 [b, 3, H, W]."""
    return normalise(values, preprocessing)


def as_features(values: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Features kept as [b, h, w, C] -> [b, C, h, w], without a copy; they are past the preprocessing."""
    return values.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class BatchSource:
    """Where batches come from; row i of the store is row i of the data."""

    store: ArrayStore
    """Pixels; or features of layers that are not trained."""
    data: TrainingData
    preprocessing: Preprocessing
    chunk_size: int
    device: torch.device
    processes: Processes = ALONE
    enter: Callable[[Tensor, Preprocessing], Tensor] = as_images
    """What makes the network's input [b, C, H, W] of a chunk of the store [b, H, W, C], on the device."""
    views: StudentViews = AS_DECODED
    """Which pixels of an image the network is shown."""

    def take(self, rows: Sequence[int]) -> "BatchSource":
        """These rows alone."""
        return replace(self, store=self.store.take(rows), data=self.data.take(rows))

    def chunks(self, batch: Rows, step: int | None = None) -> Iterator[Chunk]:
        """This process's share of the batch's images, ready for the network, channels last, in chunks of one
        shape: as a step of the training is shown them, or without a step as the student is in use."""
        share = self.store.chunks(
            batch.tolist(),
            self.chunk_size,
            pin=self.device.type == "cuda",
            processes=self.processes,
            alteration=self.views.in_use() if step is None else self.views.in_training(step, len(batch)),
        )
        for chunk in share:
            values = chunk.values.to(self.device, non_blocking=True)
            images = self.enter(values, self.preprocessing).contiguous(memory_format=torch.channels_last)
            yield Chunk(chunk.positions.to(self.device), images)

    def teacher(self, batch: Rows) -> Tensor | None:
        """The teacher's descriptors, float32 [B, D]."""
        return None if self.data.teacher is None else self._rows(self.data.teacher, batch)

    def labels(self, batch: Rows) -> Tensor | None:
        """Class numbers, long [B]; multi-hot [B, C] where images have several labels."""
        return None if self.data.labels is None else self._rows(self.data.labels, batch)

    def names(self, batch: Rows, rows: tuple[int, ...]) -> list[str]:
        """The files behind some rows of a batch."""
        return [str(self.data.images[batch[row]].path) for row in rows]

    def _rows(self, array: NDArray[np.float32] | NDArray[np.int64], batch: Rows) -> Tensor:
        return torch.from_numpy(array[batch]).to(self.device)
