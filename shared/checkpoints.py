"""Networks on disk: our safetensors files; the public ones of the field through ``shared.public_networks``.

In: a network or a path. Out: a file, a network in evaluation mode, or the digest of its weights.
Whatever is wrong with a file is a :class:`CheckpointError` that names it.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors.torch import save
from torch import Tensor, nn

from shared.digest import canonical_json
from shared.network import DescriptorNet, NetworkSpec, build_network
from shared.public_networks import public_name, read_public_network, require_public_file
from shared.tensor_files import (
    BATCH_COUNTER,
    CheckpointError,
    fit,
    is_safetensors,
    read_safetensors,
    read_safetensors_metadata,
    sorted_metadata,
)
from shared.whole_files import write_whole

__all__ = ["CheckpointError", "load_network", "read_notes", "save_network", "weights_digest"]

FORMAT = "ration-network/1"


def save_network(
    network: DescriptorNet, path: str | os.PathLike[str], notes: Mapping[str, str] | None = None
) -> None:
    """Write weights, spec and notes to a safetensors file, whole or not at all; the same give the same bytes.

    Args:
        network: on any device.
        path: replaced if it exists.
        notes: free text by name, such as where the network comes from; see :func:`read_notes`.

    Raises:
        OSError: the folder cannot be written, or is full; an older file is then untouched.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "spec": canonical_json(network.spec.description()).decode(),
        "notes": canonical_json(dict(notes or {})).decode(),
    }
    write_whole(Path(path), sorted_metadata(save(tensors, metadata)))


def load_network(path: str | os.PathLike[str]) -> DescriptorNet:
    """Read a network, in evaluation mode, from our ``.safetensors`` or from a public ``.pth`` file.

    Raises:
        CheckpointError: no such file, damaged, a wrong hash in its name, a pickle that would run code, a
            network of a kind that is not supported, or weights that do not fit it.
    """
    path = Path(path)
    require_public_file(path)
    own = is_safetensors(path)
    try:
        spec, tensors = _read_own(path) if own else read_public_network(path)
    except CheckpointError:
        raise
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} does not describe a network that can be read: {error!r}.") from error
    with torch.device("meta"):
        network = build_network(spec)
    fit(network, tensors, str(path), name_in_file=str if own else public_name)
    return network.eval()


def read_notes(path: str | os.PathLike[str]) -> dict[str, str]:
    """The notes that :func:`save_network` was given.

    Raises:
        CheckpointError: not one of our files.
    """
    metadata = _checked(Path(path), read_safetensors_metadata(Path(path)))
    notes: dict[str, str] = orjson.loads(metadata["notes"])
    return notes


def weights_digest(network: nn.Module) -> str:
    """SHA-256 over names, shapes and float32 little-endian values, sorted by name: of no file's form.

    Batch counters, on which no descriptor depends, are left out.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        if not name.endswith(BATCH_COUNTER):
            digest.update(canonical_json([name, list(tensor.shape)]))
            digest.update(tensor.detach().cpu().contiguous().numpy().astype("<f4", copy=False).data)
    return digest.hexdigest()


def _read_own(path: Path) -> tuple[NetworkSpec, dict[str, Tensor]]:
    tensors, metadata = read_safetensors(path)
    return _spec(path, orjson.loads(_checked(path, metadata)["spec"])), tensors


def _checked(path: Path, metadata: dict[str, str]) -> dict[str, str]:
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is a safetensors file of format {metadata.get('format')!r}, not {FORMAT!r}. If it holds "
            "ImageNet weights of a classifier, name it as weights of an architecture, not as a checkpoint."
        )
    return metadata


def _spec(path: Path, named: Mapping[str, Any]) -> NetworkSpec:
    try:
        return NetworkSpec(named["arch"], named["pooling"], bool(named.get("whitening", False)))
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
