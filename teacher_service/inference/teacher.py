"""The teacher: a network with its preprocessing and output policy, and the revision that names all of it.

In: settings. Out: something that loads single images and describes batches of one shape. The revision is the
SHA-256 of a document that says everything a descriptor depends on; it stands in every answer, receipt
and cache key, and in the ledger.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from shared.checkpoints import load_network, weights_digest
from shared.digest import JsonValue, digest_of_document, float_text
from shared.extraction import describe_pixels, pick_device
from shared.image_headers import read_header
from shared.images import Pixels, Preprocessing, load_pixels
from shared.network import CheckpointError, DescriptorNet, NetworkSpec, build_network, load_imagenet_weights
from teacher_service.errors import TeacherUnusable
from teacher_service.inference.responses import Descriptor, OutputPolicy
from teacher_service.settings import Settings

PRECISION = "float32"


@dataclass(frozen=True)
class Teacher:
    """Ready to describe; built by :func:`build_teacher`."""

    network: DescriptorNet
    preprocessing: Preprocessing
    scales: tuple[float, ...]
    policy: OutputPolicy
    device: torch.device
    description: dict[str, JsonValue]

    @property
    def model_id(self) -> str:
        """The name of the model on the wire."""
        return self.network.spec.name

    @property
    def revision(self) -> str:
        """SHA-256 of the canonical JSON of ``description``."""
        return digest_of_document(self.description)

    @property
    def dimension(self) -> int:
        """Values in a sent descriptor."""
        return self.policy.dimension(self.network.dim)

    def count_pixels(self, data: bytes) -> int:
        """Pixels of an encoded image before it is shrunk, by its header. Raises InvalidImage."""
        return read_header(data).pixels

    def load(self, data: bytes) -> Pixels:
        """Encoded image -> uint8 [H, W, 3]. Raises InvalidImage."""
        return load_pixels(data, self.preprocessing)

    def describe(self, pixels: Pixels, images: Sequence[str]) -> list[Descriptor]:
        """uint8 [B, H, W, 3] of the images with these digests -> a descriptor for each.

        Raises:
            ArithmeticError: the network gave NaN or infinity; such a descriptor is never sold.
        """
        batch = torch.from_numpy(pixels).to(self.device)
        rows = describe_pixels(self.network, batch, self.preprocessing, self.scales).cpu().numpy()
        if not np.isfinite(rows).all():
            raise ArithmeticError(
                f"{self.model_id} gave NaN or infinity for an image of {pixels.shape[2]} x {pixels.shape[1]}."
            )
        return self.policy.apply(rows, images)


def build_teacher(settings: Settings) -> Teacher:
    """Load or build the network that the settings name, on its device.

    Raises:
        TeacherUnusable: unknown architecture or device, unreadable or unfitting weights.
    """
    try:
        network = _network(settings)
        device = pick_device(settings.device)
        network = network.eval().requires_grad_(False).to(device)
    except (CheckpointError, ValueError, OSError, RuntimeError) as error:
        raise TeacherUnusable(str(error)) from error
    preprocessing = Preprocessing(settings.image_size)
    policy = OutputPolicy(
        settings.truncate_dims, settings.noise_sigma, settings.noise_seed, settings.decimals
    )
    description = describe_teacher(network, preprocessing, settings.scales, policy)
    return Teacher(network, preprocessing, settings.scales, policy, device, description)


def describe_teacher(
    network: DescriptorNet, preprocessing: Preprocessing, scales: Sequence[float], policy: OutputPolicy
) -> dict[str, JsonValue]:
    """Everything that a descriptor depends on, as plain JSON; floats as text."""
    return {
        "weights": weights_digest(network),
        "network": network.spec.description(),
        "preprocessing": preprocessing.description(),
        "scales": [float_text(scale) for scale in scales],
        "precision": PRECISION,
        "output": policy.description(),
    }


def _network(settings: Settings) -> DescriptorNet:
    if settings.checkpoint is not None:
        return load_network(settings.checkpoint)
    network = build_network(NetworkSpec.parse(settings.arch), seed=settings.weights_seed)
    if settings.weights != "random":
        source = "imagenet" if settings.weights == "imagenet" else Path(settings.weights)
        load_imagenet_weights(network, source)
    return network
