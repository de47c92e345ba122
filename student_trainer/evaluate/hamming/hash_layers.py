"""The hash layer beside a student: found, held against the student, and applied to descriptors.

In: a run's ``head.safetensors``, the student, and its unit descriptors. Out: packed codes.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from shared.checkpoints import weights_digest
from shared.network import DescriptorNet
from shared.tensor_files import CheckpointError
from student_trainer.distil.descriptors import full_precision
from student_trainer.distil.heads import Head, read_head
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.hamming.packing import Codes, pack

_ROWS_AT_A_TIME = 65_536


def read_hash_layer(file: Path | None, student: DescriptorNet) -> Head | None:
    """The layer that was trained with this student; None where there is no file, or it is no hash layer.

    Raises:
        InvalidInput: the file is damaged, or its layer was trained with another student.
    """
    if file is None or not file.is_file():
        return None
    try:
        saved = read_head(file)
    except CheckpointError as error:
        raise InvalidInput(str(error)) from None
    if saved.head.kind != "hash":
        return None
    if saved.head.in_dim != student.dim or saved.student_digest != weights_digest(student):
        raise InvalidInput(
            f"The hash layer {file} was trained with another student ({saved.student_digest[:12]}) than the "
            f"one beside it ({weights_digest(student)[:12]}): its codes would mean nothing. Put back the "
            "student of its training, or train again."
        )
    return saved.head


def codes_of(layer: Head, rows: NDArray[np.float32]) -> Codes:
    """The codes, uint8 [n, ceil(bits / 8)], of unit descriptors [n, d]."""
    layer = layer.cpu().eval()
    parts = []
    with torch.no_grad(), full_precision(torch.device("cpu")):
        for start in range(0, len(rows), _ROWS_AT_A_TIME):
            parts.append(pack(layer(torch.tensor(rows[start : start + _ROWS_AT_A_TIME])).numpy()))
    return np.concatenate(parts) if parts else pack(np.empty((0, layer.out_dim), np.float32))
