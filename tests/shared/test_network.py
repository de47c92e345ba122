"""The descriptor network: its forward pass against torchvision's, its seeds, names and ImageNet weights."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from shared.checkpoints import load_network, save_network
from shared.network import (
    ARCHITECTURES,
    CheckpointError,
    DescriptorNet,
    NetworkSpec,
    build_network,
    load_imagenet_weights,
)
from shared.pooling import Embedding, GeM

SMALL = NetworkSpec("mobilenet_v2-320x0.1")


def images(batch: int = 2, height: int = 64, width: int = 48) -> Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def classifier() -> torchvision.models.ResNet:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return torchvision.models.resnet18(weights=None).eval()


@pytest.fixture
def weights_file(classifier: nn.Module, tmp_path: Path) -> Path:
    path = tmp_path / "resnet18.safetensors"
    save_file(classifier.state_dict(), path)
    return path


def features_of(classifier: torchvision.models.ResNet, batch: Tensor) -> Tensor:
    """torchvision's own forward pass, written out, up to the last feature map."""
    x = classifier.maxpool(classifier.relu(classifier.bn1(classifier.conv1(batch))))
    return classifier.layer4(classifier.layer3(classifier.layer2(classifier.layer1(x))))


# Forward


@torch.no_grad()
def test_a_descriptor_is_torchvisions_features_pooled_and_normalised(
    classifier: torchvision.models.ResNet, weights_file: Path
) -> None:
    network = build_network(NetworkSpec("resnet18")).eval()
    load_imagenet_weights(network, weights_file)
    maps = np.maximum(features_of(classifier, images()).numpy().astype(np.float64), 1e-6)
    pooled = (maps**3).mean(axis=(2, 3)) ** (1 / 3)
    expected = pooled / (np.linalg.norm(pooled, axis=1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(network(images()).numpy(), expected, atol=1e-6)


@torch.no_grad()
def test_whitening_is_a_linear_map_between_two_normalisations() -> None:
    network = build_network(NetworkSpec("resnet18", whitening=True), seed=0).eval()
    assert isinstance(network.whiten, nn.Linear)
    plain = DescriptorNet(NetworkSpec("resnet18"), network.trunk, network.pool).eval()
    mapped = plain(images()) @ network.whiten.weight.T + network.whiten.bias
    torch.testing.assert_close(
        network(images()), mapped / mapped.norm(dim=1, keepdim=True), atol=1e-5, rtol=1e-5
    )


@torch.no_grad()
@pytest.mark.parametrize("whitening", [False, True])
def test_an_embedding_layer_is_a_linear_map_between_pooling_and_normalisation(whitening: bool) -> None:
    network = build_network(NetworkSpec("resnet18+7", "spoc", whitening), seed=0).eval()
    assert isinstance(network.pool, Embedding)
    layer = network.pool.linear
    mapped = network.trunk(images()).mean(dim=(2, 3)) @ layer.weight.T + layer.bias
    expected: Tensor = mapped / mapped.norm(dim=1, keepdim=True)
    if network.whiten is not None:
        expected = expected @ network.whiten.weight.T + network.whiten.bias
        expected = expected / expected.norm(dim=1, keepdim=True)
    rows = network(images())
    assert rows.shape == (2, network.dim) == (2, 7)
    torch.testing.assert_close(rows, expected, atol=1e-5, rtol=1e-5)


def test_imagenet_weights_leave_the_embedding_layer_as_it_was_drawn(weights_file: Path) -> None:
    network = build_network(NetworkSpec("resnet18+7"), seed=0)
    assert isinstance(network.pool, Embedding)
    drawn, first = network.pool.linear.weight.clone(), network.trunk.get_submodule("0").weight
    load_imagenet_weights(network, weights_file)
    assert torch.equal(network.pool.linear.weight, drawn)
    assert isinstance(first, Tensor) and torch.equal(first, load_file(weights_file)["conv1.weight"])


def test_a_network_with_an_embedding_layer_is_saved_and_read(tmp_path: Path) -> None:
    network = build_network(NetworkSpec("mobilenet_v2-320x0.1+7", "spoc"), seed=0).eval()
    save_network(network, tmp_path / "n.safetensors")
    saved = load_network(tmp_path / "n.safetensors").eval()
    assert saved.spec == network.spec
    with torch.no_grad():
        torch.testing.assert_close(saved(images()), network(images()), atol=0, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["gem", "mac", "spoc", "rmac"])
def test_rows_have_unit_length_and_the_networks_dimension(pooling: str) -> None:
    network = build_network(NetworkSpec("resnet18", pooling), seed=0).eval()
    rows = network(images(3))
    assert rows.shape == (3, network.dim) == (3, 512)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(3), atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (33, 2)])
def test_an_image_of_a_single_pixel_or_line_has_a_descriptor(size: tuple[int, int]) -> None:
    rows = build_network(SMALL, seed=0).eval()(torch.zeros(1, 3, *size))
    assert torch.isfinite(rows).all()


def test_gradients_reach_every_weight() -> None:
    network = build_network(SMALL, seed=0).train()
    network(images(4)).pow(3).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


# Seeds


def test_the_same_seed_gives_the_same_weights_whatever_was_drawn_before() -> None:
    first = build_network(SMALL, seed=7).state_dict()
    torch.rand(1000)
    second = build_network(SMALL, seed=7).state_dict()
    other = build_network(SMALL, seed=8).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["trunk.0.0.weight"], other["trunk.0.0.weight"])


def test_a_seeded_network_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    build_network(SMALL, seed=7)
    assert torch.equal(torch.rand(3), expected)


def test_an_unseeded_network_follows_the_global_generator() -> None:
    torch.manual_seed(1)
    first, second = build_network(SMALL), build_network(SMALL)
    torch.manual_seed(1)
    again = build_network(SMALL)
    name = "trunk.0.0.weight"
    assert torch.equal(first.state_dict()[name], again.state_dict()[name])
    assert not torch.equal(first.state_dict()[name], second.state_dict()[name])


def test_a_copy_keeps_what_was_frozen() -> None:
    network = build_network(SMALL, seed=0)
    network.batch_norm_frozen = True
    assert copy.deepcopy(network).train().batch_norm_frozen


# Names


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("resnet101-gem", NetworkSpec("resnet101", "gem")),
        ("resnet50-gem-w", NetworkSpec("resnet50", "gem", whitening=True)),
        ("mobilenet_v2-320", NetworkSpec("mobilenet_v2-320", "gem")),
        ("mobilenet_v2-320x0.35-mac", NetworkSpec("mobilenet_v2-320x0.35", "mac")),
        ("resnet18-w", NetworkSpec("resnet18", "gem", whitening=True)),
        ("mobilenet_v2x0.25+512-spoc", NetworkSpec("mobilenet_v2x0.25+512", "spoc")),
    ],
)
def test_a_short_name_is_read(name: str, spec: NetworkSpec) -> None:
    assert NetworkSpec.parse(name) == spec
    assert NetworkSpec.parse(spec.name) == spec


@pytest.mark.parametrize("arch", [*ARCHITECTURES, "mobilenet_v2x0.5"])
def test_a_description_gives_the_spec_back(arch: str) -> None:
    spec = NetworkSpec(arch, "mac", whitening=True)
    assert NetworkSpec(**spec.description()) == spec  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["vgg11-gem", "resnet101-gemmp", "gem", "resnet101-gem-x"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="Unknown architecture"):
        NetworkSpec.parse(name)


def test_an_unknown_pooling_is_refused_with_what_there_is() -> None:
    with pytest.raises(ValueError, match="Unknown pooling 'max': choose one of gem, mac, spoc, rmac"):
        NetworkSpec("resnet18", "max")


# ImageNet weights


def test_a_pth_file_serves_as_well_as_safetensors(
    classifier: nn.Module, weights_file: Path, tmp_path: Path
) -> None:
    pth = tmp_path / "resnet18.pth"
    torch.save(classifier.state_dict(), pth)
    networks = [build_network(NetworkSpec("resnet18")) for _ in range(2)]
    load_imagenet_weights(networks[0], weights_file)
    load_imagenet_weights(networks[1], str(pth))
    for ours, theirs in zip(*(network.trunk.state_dict().values() for network in networks), strict=True):
        assert torch.equal(ours, theirs)


def test_weights_without_batch_counters_are_accepted(weights_file: Path) -> None:
    tensors = {name: tensor for name, tensor in load_file(weights_file).items() if "num_batches" not in name}
    save_file(tensors, weights_file)
    load_imagenet_weights(build_network(NetworkSpec("resnet18")), weights_file)


def test_pooling_and_whitening_are_left_alone(weights_file: Path) -> None:
    network = build_network(NetworkSpec("resnet18", whitening=True), seed=0)
    assert isinstance(network.pool, GeM)
    assert network.whiten is not None
    whitening = network.whiten.weight.clone()
    load_imagenet_weights(network, weights_file)
    assert network.pool.p.item() == 3.0
    assert torch.equal(network.whiten.weight, whitening)


def test_weights_that_lack_a_layer_are_refused_by_its_name(weights_file: Path) -> None:
    tensors = load_file(weights_file)
    del tensors["layer4.1.conv2.weight"]
    save_file(tensors, weights_file)
    with pytest.raises(CheckpointError, match=r"1 missing \(7\.1\.conv2\.weight\); none unknown"):
        load_imagenet_weights(build_network(NetworkSpec("resnet18")), weights_file)


def test_weights_of_a_larger_network_of_the_family_are_refused(weights_file: Path) -> None:
    with pytest.raises(CheckpointError, match=r"does not fit Sequential: .* missing \(4\.2\.conv1\.weight"):
        load_imagenet_weights(build_network(NetworkSpec("resnet34")), weights_file)


def test_weights_of_another_family_are_refused(weights_file: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"not a torchvision state dict of mobilenet_v2: .*unknown name"
    ):
        load_imagenet_weights(build_network(SMALL), weights_file)


def test_weights_of_another_width_are_refused_with_both_shapes(tmp_path: Path) -> None:
    wide = torchvision.models.mobilenet_v2(weights=None)
    path = tmp_path / "wide.safetensors"
    save_file(wide.state_dict(), path)
    with pytest.raises(
        CheckpointError, match=r"0\.0\.weight has shape \(32, 3, 3, 3\), expected \(8, 3, 3, 3\)"
    ):
        load_imagenet_weights(build_network(SMALL), path)


def test_a_width_that_torchvision_does_not_publish_is_refused_before_a_download() -> None:
    with pytest.raises(CheckpointError, match=r"not published by torchvision, which has width 1 alone"):
        load_imagenet_weights(build_network(SMALL), "imagenet")


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.pth"
    torch.save([1, 2, 3], path)
    with pytest.raises(CheckpointError, match="expected tensors by name, found list"):
        load_imagenet_weights(build_network(SMALL), path)


def test_without_a_network_connection_the_download_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The address is replaced by one on which nothing listens: a real refused connection."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1
    monkeypatch.setattr(weights.value, "url", "http://127.0.0.1:9/mobilenet_v2-b0353104.pth")
    with pytest.raises(
        CheckpointError, match=r"could not be downloaded from .*Fetch the file on another machine"
    ):
        load_imagenet_weights(build_network(NetworkSpec("mobilenet_v2-320")), "imagenet")


@pytest.mark.data
@pytest.mark.parametrize("arch", ["mobilenet_v2", "mobilenet_v2-320"])
def test_real_imagenet_weights_load_strictly(real_data: Path, arch: str) -> None:
    path = real_data / "weights" / "mobilenet_v2-imagenet.safetensors"
    network = build_network(NetworkSpec(arch), seed=0)
    load_imagenet_weights(network, path)
    stored = load_file(path)
    for name, tensor in network.trunk.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(tensor, stored[f"features.{name}"]), name
