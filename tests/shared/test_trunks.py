"""Architectures by name: sizes, parameters, and the torchvision weights that they take."""

import pytest
import torch
import torchvision
from torch import nn

from shared.compact_trunks import COMPACT
from shared.trunks import ARCHITECTURES, build_trunk, output_channels, parse_architecture, trunk_key

DIMS = {
    "resnet18": 512,
    "resnet34": 512,
    "resnet50": 2048,
    "resnet101": 2048,
    "resnet152": 2048,
    "vgg16": 512,
    "mobilenet_v2": 1280,
    "mobilenet_v2-320": 320,
    "mobilenet_v2-320x0.35": 112,
    "mobilenet_v2x0.5": 1280,
    "mobilenet_v2x1.4": 1792,
}


@pytest.fixture(autouse=True)
def _without_allocating() -> object:
    """On the meta device networks have shapes but no values: ResNet152 costs nothing."""
    with torch.device("meta"):
        yield


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", DIMS)
def test_a_trunk_gives_features_of_its_dimension_a_thirty_second_as_large(name: str) -> None:
    """VGG16, without its last pooling, a sixteenth."""
    trunk = build_trunk(parse_architecture(name))
    size = (6, 4) if name == "vgg16" else (3, 2)
    assert trunk(torch.empty(2, 3, 96, 64)).shape == (2, DIMS[name], *size)
    assert output_channels(trunk) == DIMS[name]


@pytest.mark.parametrize(
    ("name", "dim", "stride"), [("resnet18-64", 64, 4), ("resnet18-128", 128, 8), ("resnet50-1024", 1024, 16)]
)
def test_a_resnet_can_be_cut_at_the_end_of_a_stage(name: str, dim: int, stride: int) -> None:
    trunk = build_trunk(parse_architecture(name))
    assert trunk(torch.empty(2, 3, 96, 64)).shape == (2, dim, 96 // stride, 64 // stride)
    assert output_channels(trunk) == dim


def test_an_embedding_layer_is_named_by_its_dimensions_and_is_no_part_of_the_trunk() -> None:
    named = parse_architecture("mobilenet_v2x0.25+512")
    assert (named.trunk, named.embedding, named.width) == ("mobilenet_v2x0.25", 512, 0.25)
    assert output_channels(build_trunk(named)) == 1280
    assert round(parameters(build_trunk(named)) / 1e6, 2) == 0.24
    assert parse_architecture("mobilenet_v2x0.25").embedding == 0
    assert parameters(build_trunk(parse_architecture("vgg16+9"))) == parameters(
        build_trunk(parse_architecture("vgg16"))
    )


@pytest.mark.parametrize("name", ["resnet18+", "resnet18+0", "resnet18+07", "resnet18+9000", "resnet18+7+8"])
def test_an_embedding_layer_of_no_sensible_size_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="take a whole number from 1 to 8,192, as in resnet18"):
        parse_architecture(name)


@pytest.mark.parametrize("name", ["resnet18-100", "resnet18-512", "resnet50-64", "resnet20-64", "resnet18-"])
def test_a_resnet_is_cut_nowhere_else(name: str) -> None:
    with pytest.raises(ValueError, match="Unknown architecture"):
        parse_architecture(name)


def test_a_cut_resnet_is_as_small_as_documented() -> None:
    assert parameters(build_trunk(parse_architecture("resnet18-128"))) == 683_072


def test_every_listed_architecture_is_covered_above() -> None:
    assert set(ARCHITECTURES) - COMPACT.keys() <= DIMS.keys()  # the others in test_compact_trunks


def test_the_papers_mobilenet_student_has_1_81_million_parameters() -> None:
    assert parameters(build_trunk(parse_architecture("mobilenet_v2-320"))) == 1_811_712


def test_a_narrow_mobilenet_is_as_small_as_documented() -> None:
    assert parameters(build_trunk(parse_architecture("mobilenet_v2-320x0.35"))) == 250_208


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet18-128", "resnet50", "vgg16", "mobilenet_v2", "mobilenet_v2-320"]
)
def test_torchvisions_weights_are_named_as_the_trunk_names_them(name: str) -> None:
    architecture = parse_architecture(name)
    theirs = getattr(torchvision.models, architecture.torchvision_name)().state_dict()
    ours = build_trunk(architecture).state_dict()
    renamed = {trunk_key(architecture, key): tensor.shape for key, tensor in theirs.items()}
    renamed.pop(None)
    assert renamed == {key: tensor.shape for key, tensor in ours.items()}


@pytest.mark.parametrize("size", [(1, 1), (15, 300), (31, 2)])
def test_a_vgg16_halves_sides_down_to_one_cell(size: tuple[int, int]) -> None:
    maps = build_trunk(parse_architecture("vgg16"))(torch.empty(1, 3, *size))
    assert maps.shape == (1, 512, *(max(1, side // 16) for side in size))


@pytest.mark.parametrize("name", ["resnet18", "vgg16", "mobilenet_v2"])
def test_an_unknown_weight_is_refused_by_name(name: str) -> None:
    with pytest.raises(KeyError, match=r"unknown name blocks\.0\.weight"):
        trunk_key(parse_architecture(name), "blocks.0.weight")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "resnet",
        "resnet102",
        "vgg11",
        "vgg16-512",
        "resnet18x0.5",
        "mobilenet_v2x",
        "mobilenet_v2-320x0",
        "mobilenet_v2x9",
    ],
)
def test_an_unknown_architecture_is_refused_with_what_there_is(name: str) -> None:
    with pytest.raises(
        ValueError, match=r"Unknown architecture .*choose one of resnet18, .*mobilenet_v2-320x0\.35"
    ):
        parse_architecture(name)
