"""Learned whitenings in files of our own: safetensors, one file for all that belong to a network.

In: whitenings by the data set that they were learned on, then by ``ss`` (for descriptors of one scale) or
``ms`` (of several). Out: a file, or the same back bit for bit. Those in public files:
:func:`shared.public_networks.read_learned_whitenings`, which reads these files too.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from shared.learned_whitening import LearnedWhitening
from shared.tensor_files import CheckpointError, read_safetensors
from shared.whole_files import write_whole

FORMAT = "ration-whitening/1"

SINGLE_SCALE, MULTI_SCALE = "ss", "ms"
"""The public format's names: learned on descriptors of one scale, and of several."""


def save_learned_whitenings(
    path: str | os.PathLike[str], whitenings: Mapping[str, Mapping[str, LearnedWhitening]]
) -> None:
    """Write them as ``<data set>/<ss or ms>/<m or P>``, float64, whole or not at all.

    Raises:
        ValueError: a kind that is neither ``ss`` nor ``ms``.
        OSError: the folder cannot be written, or is full; an older file is then untouched.
    """
    arrays: dict[str, np.ndarray] = {}
    for dataset, kinds in whitenings.items():
        for kind, whitening in kinds.items():
            if kind not in (SINGLE_SCALE, MULTI_SCALE):
                raise ValueError(f"A whitening is for ss or ms, one scale or several; got {kind!r}.")
            arrays[f"{dataset}/{kind}/m"] = np.ascontiguousarray(whitening.mean)
            arrays[f"{dataset}/{kind}/P"] = np.ascontiguousarray(whitening.projection)
    write_whole(Path(path), save(arrays, {"format": FORMAT}))


def load_learned_whitenings(path: str | os.PathLike[str]) -> dict[str, dict[str, LearnedWhitening]]:
    """What :func:`save_learned_whitenings` was given.

    Raises:
        CheckpointError: no such file, damaged, or of another kind.
    """
    tensors, metadata = read_safetensors(Path(path))
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is a safetensors file of format {metadata.get('format')!r}, not {FORMAT!r}: it holds no "
            "learned whitenings."
        )
    found: dict[str, dict[str, LearnedWhitening]] = {}
    try:
        for name in sorted(tensors):
            dataset, kind, part = name.rsplit("/", 2)
            if part == "m":
                projection = tensors[f"{dataset}/{kind}/P"]
                found.setdefault(dataset, {})[kind] = LearnedWhitening(
                    tensors[name].numpy(), projection.numpy()
                )
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{path} does not describe whitenings that can be read: {error!r}.") from error
    return found
