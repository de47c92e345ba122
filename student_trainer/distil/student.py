"""The student before its first step: architecture, initial weights, frozen batch norm.

In: a recipe, and for random weights some training images. Out: a network ready to be trained.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from shared.checkpoints import FORMAT, load_network
from shared.images import Preprocessing, normalise
from shared.network import (
    CheckpointError,
    DescriptorNet,
    NetworkSpec,
    build_network,
    calibrate_batch_norm,
    check_imagenet_weights,
    freeze_batch_norm,
    load_imagenet_weights,
)
from shared.tensor_files import is_safetensors, read_safetensors_metadata
from student_trainer.distil.arrays import ArrayStore
from student_trainer.distil.views import MiddleSquare
from student_trainer.errors import InvalidInput
from student_trainer.recipe import Recipe
from student_trainer.recipe_sections import IMAGENET, RANDOM

CALIBRATION_IMAGES = 512
"""Images that give a randomly initialised network its batch norm statistics."""
_CALIBRATION_BATCH = 64


def build_student(recipe: Recipe) -> DescriptorNet:
    """The recipe's network with its initial weights, on the CPU.

    A weights file is either a saved network of the same architecture and pooling, or torchvision's
    ImageNet weights for the trunk.

    Raises:
        InvalidInput: an unknown architecture or pooling, or weights that cannot be used.
    """
    network = build_untrained(recipe)
    weights = recipe.student.weights
    try:
        if weights == IMAGENET:
            load_imagenet_weights(network, IMAGENET)
        elif weights != RANDOM:
            network = _from_file(network, Path(weights))
    except CheckpointError as error:
        raise _refused(recipe, error) from None
    if recipe.student.random_from:
        drawn = _upper(build_untrained(recipe), recipe.student.random_from)
        _upper(network, recipe.student.random_from).load_state_dict(drawn.state_dict())
    return network


def build_untrained(recipe: Recipe) -> DescriptorNet:
    """The recipe's network with random weights, the same for the same ``training.seed``.

    Raises:
        InvalidInput: an unknown architecture or pooling.
    """
    return build_network(_spec(recipe), seed=recipe.training.seed)


def check_student(recipe: Recipe) -> None:
    """Refuse a student that cannot be made, as far as that is known without a file or the network.

    Raises:
        InvalidInput: an unknown architecture or pooling, or ImageNet weights that nobody has published.
    """
    spec = _spec(recipe)
    if recipe.student.weights != IMAGENET:
        return
    try:
        check_imagenet_weights(spec.arch)
    except CheckpointError as error:
        raise _refused(recipe, error) from None


def calibrate(
    network: DescriptorNet,
    store: ArrayStore,
    preprocessing: Preprocessing,
    seed: int,
    *,
    drawn_from: int = 0,
) -> None:
    """Give what starts at random, in a network on its device, the batch norm statistics of training images.

    That is the trunk's modules from ``drawn_from`` on. It is shown the images as it is in use.

    Frozen at the initial mean 0 and variance 1, a random network's features would fade from layer to layer.

    Raises:
        InvalidInput: the images are too small for the trunk.
    """
    device = next(network.parameters()).device
    part = _upper(network, drawn_from) if drawn_from else None
    crop_px = preprocessing.view.crop_px
    cropped = None if crop_px is None else MiddleSquare(crop_px)

    def batches() -> Iterator[Tensor]:
        sample = np.random.default_rng([seed]).permutation(len(store))[:CALIBRATION_IMAGES]
        chunks = list(store.chunks(sample.tolist(), _CALIBRATION_BATCH, alteration=cropped))
        # Every batch counts alike, so the leftovers of rare shapes are left out.
        enough = max(len(chunk.positions) for chunk in chunks) / 2
        for chunk in chunks:
            if len(chunk.positions) >= enough:
                yield normalise(chunk.values.to(device), preprocessing)

    try:
        calibrate_batch_norm(network, batches(), part)
    except ValueError as error:
        raise InvalidInput(f"Batch norm cannot take its statistics from these images: {error}") from None


def make_trainable(network: DescriptorNet, *, freeze: bool, device: torch.device) -> None:
    """Move the network to its device, in the memory format and the modes in which it is trained.

    Frozen batch norm keeps its statistics, while its affine weights are trained. Channels-last is how
    the convolutions of both kinds of device are fastest.
    """
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.train()
    if freeze:
        freeze_batch_norm(network)


def _spec(recipe: Recipe) -> NetworkSpec:
    try:
        return NetworkSpec(recipe.student.arch, recipe.student.pooling)
    except ValueError as error:
        raise InvalidInput(str(error)) from None


def _refused(recipe: Recipe, error: CheckpointError) -> InvalidInput:
    """Weights that cannot be used, with the options that name others."""
    cure = " That is: --weights FILE, or --weights random." if recipe.student.weights == IMAGENET else ""
    return InvalidInput(f"student.weights: {error}{cure}")


def _upper(network: DescriptorNet, start: int) -> nn.Module:
    """The trunk's modules from that one on.

    Raises:
        InvalidInput: the trunk is not so deep.
    """
    modules = len(network.trunk)  # type: ignore[arg-type]
    if start >= modules:
        raise InvalidInput(
            f"student.random_from = {start}: the trunk of {network.spec.name} has {modules} modules, so at "
            f"most {modules - 1} of them can keep their weights below one that starts at random."
        )
    upper: nn.Module = network.trunk[start:]  # type: ignore[index]
    return upper


def _from_file(network: DescriptorNet, path: Path) -> DescriptorNet:
    if not (is_safetensors(path) and read_safetensors_metadata(path).get("format") == FORMAT):
        load_imagenet_weights(network, path)
        return network
    saved = load_network(path)
    if saved.spec != network.spec:
        raise CheckpointError(f"{path} holds a {saved.spec.name}; the recipe asks for {network.spec.name}.")
    return saved
