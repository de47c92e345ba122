"""The public networks of the field: files of cnnimageretrieval-pytorch ("cirtorch"), as they are read.

In: the path of a ``.pth`` file, as published or as a training leaves it. Out: which network it holds and its
tensors under our names, the whitenings that were learned for it, or :class:`CheckpointError`.

A file holds ``meta`` and ``state_dict``; what a training adds (``epoch``, ``optimizer`` ...) is passed over.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shared.images import IMAGENET_MEAN, IMAGENET_STD
from shared.learned_whitening import LearnedWhitening
from shared.network import NetworkSpec
from shared.tensor_files import CheckpointError, as_tensors, is_safetensors, read_pickle
from shared.whitening_files import load_learned_whitenings

PUBLISHED = {
    "retrieval-SfM-120k": (
        "retrievalSfM120k-vgg16-gem-b4dcdc6.pth",
        "retrievalSfM120k-resnet101-gem-b80fb85.pth",
        "rSfM120k-tl-resnet50-gem-w-97bf910.pth",
        "rSfM120k-tl-resnet101-gem-w-a155e54.pth",
        "rSfM120k-tl-resnet152-gem-w-f39cada.pth",
    ),
    "gl18": (
        "gl18-tl-resnet50-gem-w-83fdc30.pth",
        "gl18-tl-resnet101-gem-w-a4d43db.pth",
        "gl18-tl-resnet152-gem-w-21278d5.pth",
    ),
}
"""File names by the folder of their address: by the photographs that they were trained on."""
ADDRESS = "http://cmp.felk.cvut.cz/cnnimageretrieval/data/networks"

OUR_PARTS = {"features": "trunk", "pool": "pool", "whiten": "whiten"}
"""First parts of the names of tensors: the format's, and ours."""
_THEIR_PARTS = {ours: theirs for theirs, ours in OUR_PARTS.items()}
_PREFIXES = ("retrievalSfM120k-", "rSfM120k-tl-", "gl18-tl-")
_FLAGS_NOT_SUPPORTED = ("local_whitening", "regional")
MOST_WHITENINGS = 32
"""Of one file; the published ones have four."""
_REQUIRED = ("architecture", "pooling", "mean", "std")


def require_public_file(path: Path) -> None:
    """Say where a published network comes from, if the file of that name is not there.

    Raises:
        CheckpointError: there is no file, and its name is of the published kind.
    """
    if path.is_file() or not path.name.startswith(_PREFIXES):
        return
    addresses = {name: f"{ADDRESS}/{folder}/{name}" for folder, names in PUBLISHED.items() for name in names}
    if path.name in addresses:
        advice = (
            f"Nothing is fetched silently: download {addresses[path.name]}, keep its name (the last part "
            "is checked against the file's SHA-256), and give the path to it."
        )
    else:
        advice = f"No such file was published; there are {', '.join(addresses)}."
    raise CheckpointError(
        f"There is no file {path}. Its name is one of the public networks of cnnimageretrieval-pytorch. "
        f"{advice}"
    )


def read_public_network(path: Path) -> tuple[NetworkSpec, dict[str, Tensor]]:
    """Which network a public file holds, and its tensors under the names of a ``DescriptorNet``.

    Raises:
        CheckpointError: as :func:`shared.tensor_files.read_pickle`; also something else than a retrieval
            network, or one of a kind that is not supported.
        AttributeError, KeyError, RuntimeError, TypeError, ValueError: damaged in another way.
    """
    content = _content(path)
    spec = _spec(path, content["meta"])
    return spec, {own_name(name): tensor for name, tensor in as_tensors(content["state_dict"]).items()}


def read_learned_whitenings(path: str | os.PathLike[str]) -> dict[str, dict[str, LearnedWhitening]]:
    """What a public file brings along as ``meta['Lw']``: by data set, then by ``ss`` or ``ms``; may be empty.

    A whitening is applied after the network, to the final descriptors: of a single scale (``ss``), or
    combined over several (``ms``). Our own files of whitenings (``.safetensors``) are read as well.

    Raises:
        CheckpointError: as :func:`read_public_network`, or a whitening that is damaged.
    """
    path = Path(path)
    require_public_file(path)
    if is_safetensors(path):
        return load_learned_whitenings(path)
    try:
        learned = _content(path)["meta"].get("Lw") or {}
        if (count := sum(map(len, learned.values()))) > MOST_WHITENINGS:
            # All may be one in the file, and each takes room of its own in memory.
            raise CheckpointError(f"{path} holds {count:,} whitenings; at most {MOST_WHITENINGS} are read.")
        return {
            str(dataset): {str(kind): _whitening(parts) for kind, parts in kinds.items()}
            for dataset, kinds in learned.items()
        }
    except CheckpointError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} does not describe learned whitenings that can be read: {error!r}."
        ) from error


def own_name(public_name: str) -> str:
    """``features.4.0.conv1.weight`` -> ``trunk.4.0.conv1.weight``; names of other parts stay as they are."""
    part, dot, rest = public_name.partition(".")
    return OUR_PARTS.get(part, part) + dot + rest


def public_name(own_name: str) -> str:
    """The inverse of :func:`own_name`."""
    part, dot, rest = own_name.partition(".")
    return _THEIR_PARTS.get(part, part) + dot + rest


def _content(path: Path) -> dict[str, Any]:
    content = read_pickle(path)
    if not isinstance(content, dict) or not {"meta", "state_dict"} <= content.keys():
        raise CheckpointError(
            f"{path} is not a retrieval network: it lacks 'meta' and 'state_dict'. If it holds ImageNet "
            "weights of a classifier, name it as weights of an architecture, not as a checkpoint."
        )
    return content


def _spec(path: Path, meta: Mapping[str, Any]) -> NetworkSpec:
    """``architecture, pooling, mean, std`` are required; switches default to off."""
    missing = [key for key in _REQUIRED if key not in meta]
    if missing:
        raise CheckpointError(f"{path}: its 'meta' lacks {', '.join(missing)}.")
    used = [flag for flag in _FLAGS_NOT_SUPPORTED if meta.get(flag)]
    if used:
        raise CheckpointError(
            f"{path}: networks with {' and '.join(used)} are not supported. Take one that pools the whole "
            "map by gem, mac, spoc or rmac, with or without a final whitening: all published ones do."
        )
    for key, ours in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
        if not torch.allclose(torch.tensor(meta[key]), torch.tensor(ours), atol=1e-6):
            raise CheckpointError(
                f"{path}: its images are normalised with {key} {list(meta[key])}; only ImageNet's "
                f"{list(ours)} is supported."
            )
    try:
        return NetworkSpec(meta["architecture"], meta["pooling"], bool(meta.get("whitening", False)))
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _whitening(parts: Mapping[str, Any]) -> LearnedWhitening:
    """``m`` is a column [D, 1], ``P`` is [D, D]; arrays or tensors."""
    mean, projection = np.asarray(parts["m"], dtype=np.float64), np.asarray(parts["P"], dtype=np.float64)
    if mean.ndim != 2 or mean.shape[1] != 1:
        raise ValueError(f"m has the shape {mean.shape}, expected one column")
    return LearnedWhitening(mean[:, 0], projection)
