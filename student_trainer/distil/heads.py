"""What an objective learns beside the student: a projection into the teacher's space, or a hash layer.

In: an objective that wants a head, and the dimensions of both sides. Out: the head, trained together with the
student, and ``RUN/head.safetensors``, which says to which student it belongs.

A student whose descriptors are shorter than its teacher's can only be compared with them through a map. One
that is learned as a part of the loss (Budnik and Avrithis 2020; Romero et al. 2015, for maps of features) is
no part of the student: ranking among students alone needs none.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

import torch
from safetensors.torch import save
from torch import Tensor, nn

from shared.pooling import l2_normalise
from shared.tensor_files import CheckpointError, read_safetensors, sorted_metadata
from shared.whole_files import write_whole
from student_trainer.errors import InvalidInput

FORMAT = "ration-head/1"

Kind = Literal["projection", "hash"]

_STREAM = 0x48454144
"""Keeps a head's initial weights apart from all else that is drawn from the same seed."""


class Head(nn.Module):
    """One linear layer on unit descriptors: [..., in_dim] -> [..., out_dim].

    A hash layer first lengthens them by sqrt(in_dim), so that their components have mean square 1, as those
    of the features have that hash layers are usually trained on: its numbers then start at about 1 in size.
    """

    def __init__(self, kind: Kind, in_dim: int, out_dim: int, *, bias: bool = False, seed: int = 0) -> None:
        super().__init__()
        self.kind: Kind = kind
        self.gain = in_dim**0.5 if kind == "hash" else 1.0
        # Skipped, because it would draw from the generator that everybody shares.
        self.linear: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            nn.Linear, in_dim, out_dim, bias=bias
        )
        generator = torch.Generator().manual_seed(_STREAM ^ seed)
        with torch.no_grad():
            nn.init.normal_(self.linear.weight, std=in_dim**-0.5, generator=generator)
            if bias:
                self.linear.bias.zero_()

    @property
    def in_dim(self) -> int:
        """Of the student."""
        return self.linear.in_features

    @property
    def out_dim(self) -> int:
        """Of the teacher, or the bits of a code."""
        return self.linear.out_features

    def forward(self, descriptors: Tensor) -> Tensor:
        """The layer's output as it is; :func:`project` makes descriptors of it."""
        result: Tensor = self.linear(descriptors * self.gain if self.kind == "hash" else descriptors)
        return result


def project(units: Tensor, head: Head | None) -> Tensor:
    """The student's unit rows [B, d] in the teacher's space: unit rows [B, D]; themselves without a head."""
    return units if head is None else l2_normalise(head(units))


class WantsHead(Protocol):
    """An objective that may learn a head."""

    head: Head | None

    def make_head(self, student_dim: int, teacher_dim: int | None, seed: int) -> Head | None:
        """A head with its initial weights, or None where these dimensions need none.

        ``teacher_dim`` is None where nothing was bought.
        """
        ...


def fit_head(objective: WantsHead, student_dim: int, teacher_dim: int | None, seed: int) -> Head | None:
    """Give the objective the head of a training; None where it wants none."""
    objective.head = objective.make_head(student_dim, teacher_dim, seed)
    return objective.head


def head_for(objective: WantsHead, student: Tensor, teacher: Tensor | None) -> Head | None:
    """The objective's head for a call with student [B, d] and teacher [B, D]; made now if it has none yet.

    A training has made it before (:func:`fit_head`); whoever calls an objective by itself finds it in
    ``objective.head`` afterwards, and may optimise it.

    Raises:
        InvalidInput: the head that is there is for other dimensions.
    """
    teacher_dim = None if teacher is None else teacher.shape[1]
    if objective.head is None:
        made = objective.make_head(student.shape[1], teacher_dim, seed=0)
        objective.head = None if made is None else made.to(student.device, student.dtype)
    head = objective.head
    if head is not None:
        fits = head.in_dim == student.shape[1] and (head.kind != "projection" or head.out_dim == teacher_dim)
        if not fits:
            raise InvalidInput(
                f"The {head.kind} head leads from {head.in_dim:,} to {head.out_dim:,} dimensions, "
                f"but the student's descriptors have {student.shape[1]:,} and the teacher's "
                f"{teacher_dim or 0:,}. "
                "Take a new objective for other dimensions."
            )
    return head


@dataclass(frozen=True)
class SavedHead:
    """A head from a file, and where it came from."""

    head: Head
    objective: str
    student_digest: str
    """:func:`shared.checkpoints.weights_digest` of the student that it was trained with."""


def save_head(head: Head, path: str | os.PathLike[str], *, objective: str, student_digest: str) -> None:
    """Write it as safetensors, whole or not at all.

    Raises:
        OSError: the folder cannot be written, or is full; an older file is then untouched.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in head.state_dict().items()}
    notes = {"format": FORMAT, "kind": head.kind, "objective": objective, "student": student_digest}
    write_whole(Path(path), sorted_metadata(save(tensors, notes)))


def read_head(path: str | os.PathLike[str]) -> SavedHead:
    """What :func:`save_head` wrote.

    Raises:
        CheckpointError: no such file, damaged, or of another kind.
    """
    tensors, notes = read_safetensors(Path(path))
    if notes.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is a safetensors file of format {notes.get('format')!r}, not {FORMAT!r}: it holds no "
            "head."
        )
    weight = tensors.get("linear.weight")
    if weight is None or weight.ndim != 2 or 0 in weight.shape or notes.get("kind") not in get_args(Kind):
        raise CheckpointError(f"{path} does not describe a head that can be read. Train again to make one.")
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not tensor.float().isfinite().all():
            raise CheckpointError(
                f"{path}: {name} is not of finite floating numbers (its type is {tensor.dtype}), so the head "
                "cannot be used. Train again to make one."
            )
    return SavedHead(
        _filled(path, tensors, notes), notes.get("objective", "unknown"), notes.get("student", "unknown")
    )


def _filled(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], notes: Mapping[str, str]) -> Head:
    out_dim, in_dim = tensors["linear.weight"].shape
    kind: Kind = "hash" if notes["kind"] == "hash" else "projection"
    head = Head(kind, in_dim, out_dim, bias="linear.bias" in tensors)
    try:
        head.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not hold one linear layer: {error}") from None
    return head
