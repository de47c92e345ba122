"""A network of ours as a public file, for whoever works with cnnimageretrieval-pytorch ("cirtorch").

In: a network whose architecture that format knows, and whitenings learned for it. Out: a ``.pth`` file in the
zip form, with the start of its SHA-256 as the last part of its name, as the published ones have it.

Without whitenings the file holds tensors and plain values only, which ``torch.load(weights_only=True)``
reads. The format keeps whitenings as numpy arrays: files with them need numpy's names allowed, as the
published ones do.
"""

import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shared.images import IMAGENET_MEAN, IMAGENET_STD
from shared.learned_whitening import LearnedWhitening
from shared.network import DescriptorNet, NetworkSpec
from shared.public_networks import public_name
from shared.trunks import RESNETS, VGG16
from shared.whole_files import write_whole

HASH_DIGITS = 7
SUFFIX = ".pth"
PUBLIC_ARCHITECTURES = (*RESNETS, VGG16)
"""What the format and this project both know; it has no MobileNet, and no network that ends early."""

Whitenings = Mapping[str, Mapping[str, LearnedWhitening]]
"""By data set, then by ``ss`` or ``ms``."""


def save_public_network(
    network: DescriptorNet, path: str | os.PathLike[str], whitenings: Whitenings | None = None
) -> Path:
    """Write the file, whole or not at all, and say under which name: ``a.pth`` becomes ``a-1f0c9ab.pth``.

    The same network gives the same bytes. Batch counters are kept.

    Raises:
        ValueError: an architecture that the format does not know, a name that does not end in ``.pth``, or
            a whitening of another dimension.
        OSError: the folder cannot be written, or is full.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise ValueError(f"A public file ends in {SUFFIX}; got {path.name}.")
    buffer = io.BytesIO()
    torch.save(public_content(network, whitenings), buffer)
    data = buffer.getvalue()
    named = path.with_name(f"{path.stem}-{hashlib.sha256(data).hexdigest()[:HASH_DIGITS]}{SUFFIX}")
    write_whole(named, data)
    return named


def public_content(network: DescriptorNet, whitenings: Whitenings | None = None) -> dict[str, Any]:
    """What the file holds: ``meta`` and ``state_dict``; raises ValueError as :func:`save_public_network`."""
    state = {
        public_name(name): tensor.detach().cpu().contiguous().clone()
        for name, tensor in network.state_dict().items()
    }
    meta = public_meta(network.spec, network.dim)
    if whitenings:
        meta["Lw"] = {
            dataset: {kind: _arrays(whitening, network.dim) for kind, whitening in kinds.items()}
            for dataset, kinds in whitenings.items()
        }
    return {"meta": meta, "state_dict": state}


def public_meta(spec: NetworkSpec, dim: int) -> dict[str, Any]:
    """The format's description of a network with descriptors of ``dim`` values.

    Raises:
        ValueError: the format does not know the architecture.
    """
    if spec.arch not in PUBLIC_ARCHITECTURES:
        raise ValueError(
            f"The public format has no {spec.arch}: it knows whole networks by torchvision's names, of ours "
            f"{', '.join(PUBLIC_ARCHITECTURES)}. Use the safetensors form, which holds every network."
        )
    return {
        "architecture": spec.arch,
        "local_whitening": False,
        "pooling": spec.pooling,
        "regional": False,
        "whitening": spec.whitening,
        "mean": list(IMAGENET_MEAN),
        "std": list(IMAGENET_STD),
        "outputdim": dim,
    }


def _arrays(whitening: LearnedWhitening, dim: int) -> dict[str, np.ndarray]:
    """``m`` as a float32 column and ``P`` in float64, the types of the published files."""
    if whitening.dim != dim:
        raise ValueError(
            f"A whitening of {whitening.dim}-d descriptors does not fit a network of {dim} dimensions."
        )
    return {"m": whitening.mean.astype(np.float32)[:, None], "P": whitening.projection}
