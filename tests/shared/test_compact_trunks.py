"""The compact students: the sizes that the literature states, their shapes, and images that they refuse."""

from pathlib import Path

import pytest
import torch
from torchvision.models.resnet import BasicBlock

from shared.checkpoints import load_network, save_network
from shared.compact_trunks import COMPACT, build_compact
from shared.images import InvalidImage
from shared.multiply_adds import multiply_adds, parameter_count
from shared.network import CheckpointError, NetworkSpec, build_network, load_imagenet_weights
from shared.pooling import Flatten, WrongMapSize

BITS = 64


@pytest.mark.parametrize(
    ("name", "dim", "parameters_m", "multiply_adds_g"),
    [
        ("compact-v1-flatten", 2048, 3.44, 1.087),
        ("compact-v2-flatten", 4096, 5.06, 1.111),
        ("resnet50-spoc", 2048, 23.64, 4.09),
    ],
)
def test_a_network_with_a_hash_layer_of_64_bits_is_as_large_as_published(
    name: str, dim: int, parameters_m: float, multiply_adds_g: float
) -> None:
    """The paper states the first and the last; the second follows from them and the widths."""
    spec = NetworkSpec.parse(name)
    with torch.device("meta"):
        network = build_network(spec)
    assert network.dim == dim
    assert parameter_count(network) + BITS * dim + BITS == pytest.approx(parameters_m * 1e6, rel=2e-3)
    assert multiply_adds(spec, 224, 224) + BITS * dim == pytest.approx(multiply_adds_g * 1e9, rel=1e-3)


@pytest.mark.parametrize("name", COMPACT)
def test_a_compact_trunk_has_the_published_blocks(name: str) -> None:
    with torch.device("meta"):
        stages = [list(stage) for stage in list(build_compact(name))[4:]]
    assert [len(stage) for stage in stages] == [2, 3, 5, 3, 2]
    assert all(isinstance(block, BasicBlock) for stage in stages for block in stage)
    widths = [stage[-1].conv2.out_channels for stage in stages]
    assert widths == [64, 64, 128, 128, 128 if name == "compact-v1" else 256]


def test_a_flattened_descriptor_holds_every_cell_and_has_unit_length() -> None:
    network = build_network(NetworkSpec.parse("compact-v1-flatten"), seed=1).eval()
    images = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        features = network.trunk(images)
        descriptors = network(images)
    assert features.shape == (2, 128, 4, 4)
    cells = torch.stack([features[1, c, y, x] for c in range(128) for y in range(4) for x in range(4)])
    torch.testing.assert_close(descriptors[1], cells / cells.norm())


@pytest.mark.parametrize("size", [(224, 192), (257, 224), (32, 32), (448, 448)])
def test_an_image_of_another_size_is_refused_with_the_sizes_that_fit(size: tuple[int, int]) -> None:
    with torch.device("meta"):
        network = build_network(NetworkSpec.parse("compact-v2-flatten")).eval()
        with pytest.raises(WrongMapSize, match="193 to 256 pixels a side, such as 224 x 224") as refusal:
            network(torch.empty(1, 3, *size))
    assert isinstance(refusal.value, InvalidImage)


@pytest.mark.parametrize("side", [193, 256])
def test_the_sizes_that_the_refusal_names_fit(side: int) -> None:
    with torch.device("meta"):
        assert build_network(NetworkSpec.parse("compact-v1-flatten"))(torch.empty(2, 3, side, side)).ndim == 2


def test_with_another_pooling_a_compact_student_takes_any_size() -> None:
    with torch.device("meta"):
        network = build_network(NetworkSpec("compact-v1"))
        assert network(torch.empty(2, 3, 96, 33)).shape == (2, 128)
        assert network.dim == 128


def test_only_compact_students_are_flattened() -> None:
    with pytest.raises(ValueError, match=r"for compact-v1 and compact-v2.*one of gem, mac, spoc, rmac"):
        NetworkSpec("resnet50", "flatten")


def test_a_whitening_layer_has_the_dimension_of_the_flattened_descriptor() -> None:
    with torch.device("meta"):
        network = build_network(NetworkSpec.parse("compact-v2-flatten-w"))
    assert network.whiten is not None
    assert network.whiten.in_features == 4096


def test_a_compact_student_is_saved_and_read_back(tmp_path: Path) -> None:
    network = build_network(NetworkSpec.parse("compact-v1-flatten"), seed=2).eval()
    save_network(network, tmp_path / "student.safetensors")
    images = torch.rand(1, 3, 200, 224)
    with torch.no_grad():
        assert torch.equal(load_network(tmp_path / "student.safetensors")(images), network(images))


@pytest.mark.parametrize("source", ["imagenet", "weights.safetensors"])
def test_there_are_no_imagenet_weights_of_a_compact_student(source: str) -> None:
    with torch.device("meta"):
        network = build_network(NetworkSpec("compact-v1"))
    with pytest.raises(CheckpointError, match=r"no ImageNet weights of compact-v1.*Start from random"):
        load_imagenet_weights(network, source)


def test_a_map_flattens_with_its_gradient() -> None:
    maps = torch.rand(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Flatten(), (maps,))
