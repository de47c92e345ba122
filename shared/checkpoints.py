"""Networks on disk: our safetensors files, and the public checkpoints of the field (cirtorch).

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
from torch import Tensor

from shared.digest import canonical_json
from shared.images import IMAGENET_MEAN, IMAGENET_STD
from shared.network import DescriptorNet, NetworkSpec, build_network
from shared.tensor_files import (
    BATCH_COUNTER,
    CheckpointError,
    as_tensors,
    fit,
    is_safetensors,
    read_pickle,
    read_safetensors,
    read_safetensors_metadata,
)

__all__ = ["CheckpointError", "load_network", "read_notes", "save_network", "weights_digest"]

FORMAT = "ration-network/1"
PUBLIC_PARTS = {"features": "trunk", "pool": "pool", "whiten": "whiten"}
"""First parts of names: the public format's, and ours."""
PUBLIC_NAMES = ("retrievalSfM120k-", "rSfM120k-tl-", "gl18-tl-")
PUBLIC_FLAGS_NOT_SUPPORTED = ("local_whitening", "regional")


def save_network(
    network: DescriptorNet, path: str | os.PathLike[str], notes: Mapping[str, str] | None = None
) -> None:
    """Write weights, spec and notes to a safetensors file, whole or not at all.

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
    path = Path(path)
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        unfinished.write_bytes(save(tensors, metadata))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def load_network(path: str | os.PathLike[str]) -> DescriptorNet:
    """Read a network, in evaluation mode, from our ``.safetensors`` or from a public ``.pth`` file.

    Raises:
        CheckpointError: no such file, damaged, a wrong hash in its name, a pickle that would run code, a
            network of a kind that is not supported, or weights that do not fit it.
    """
    path = Path(path)
    if not path.is_file() and path.name.startswith(PUBLIC_NAMES):
        raise CheckpointError(
            f"There is no file {path}. It is one of the public networks of cnnimageretrieval-pytorch: "
            "download it from that project's page, keep its name, and give the path to it."
        )
    try:
        spec, tensors = _read_own(path) if is_safetensors(path) else _read_public(path)
    except CheckpointError:
        raise
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} does not describe a network that can be read: {error!r}.") from error
    with torch.device("meta"):
        network = build_network(spec)
    fit(network, tensors, str(path))
    return network.eval()


def read_notes(path: str | os.PathLike[str]) -> dict[str, str]:
    """The notes that :func:`save_network` was given.

    Raises:
        CheckpointError: not one of our files.
    """
    metadata = _checked(Path(path), read_safetensors_metadata(Path(path)))
    notes: dict[str, str] = orjson.loads(metadata["notes"])
    return notes


def weights_digest(network: DescriptorNet) -> str:
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


def _read_public(path: Path) -> tuple[NetworkSpec, dict[str, Tensor]]:
    content = read_pickle(path)
    if not isinstance(content, dict) or not {"meta", "state_dict"} <= content.keys():
        raise CheckpointError(
            f"{path} is not a retrieval network: it lacks 'meta' and 'state_dict'. If it holds ImageNet "
            "weights of a classifier, name it as weights of an architecture, not as a checkpoint."
        )
    spec = _public_spec(path, content["meta"])
    return spec, {_own_name(name): tensor for name, tensor in as_tensors(content["state_dict"]).items()}


def _own_name(public_name: str) -> str:
    part, dot, rest = public_name.partition(".")
    return PUBLIC_PARTS.get(part, part) + dot + rest


def _public_spec(path: Path, meta: Mapping[str, Any]) -> NetworkSpec:
    """``architecture, pooling, mean, std`` are required; switches default to off."""
    missing = [key for key in ("architecture", "pooling", "mean", "std") if key not in meta]
    if missing:
        raise CheckpointError(f"{path}: its 'meta' lacks {', '.join(missing)}.")
    used = [flag for flag in PUBLIC_FLAGS_NOT_SUPPORTED if meta.get(flag)]
    if used:
        raise CheckpointError(f"{path}: networks with {' and '.join(used)} are not supported.")
    for key, ours in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
        if not torch.allclose(torch.tensor(meta[key]), torch.tensor(ours), atol=1e-6):
            raise CheckpointError(
                f"{path}: its images are normalised with {key} {list(meta[key])}; only ImageNet's "
                f"{list(ours)} is supported."
            )
    return _spec(path, {**meta, "arch": meta["architecture"]})


def _spec(path: Path, named: Mapping[str, Any]) -> NetworkSpec:
    try:
        return NetworkSpec(named["arch"], named["pooling"], bool(named.get("whitening", False)))
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
