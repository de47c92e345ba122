"""A network as a public file: bit for bit back, readable by anyone, named by its hash, true to the format."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from made_public_networks import MEAN, PLACES, STD
from torch import nn

from shared.checkpoints import load_network, weights_digest
from shared.learned_whitening import LearnedWhitening
from shared.network import DescriptorNet, NetworkSpec, build_network
from shared.public_export import PUBLIC_ARCHITECTURES, public_content, public_meta, save_public_network
from shared.public_networks import read_learned_whitenings
from shared.trunks import ARCHITECTURES


@pytest.fixture(scope="module")
def network() -> DescriptorNet:
    built = build_network(NetworkSpec("resnet18", whitening=True), seed=4)
    with torch.no_grad():
        built.pool.p.fill_(2.25)  # type: ignore[operator,union-attr]
        for name, buffer in built.named_buffers():
            buffer.fill_(3) if name.endswith("num_batches_tracked") else buffer.uniform_(0.5, 1.5)
    return built.eval()


def whitening(dim: int = 512) -> LearnedWhitening:
    rng = np.random.default_rng(dim)
    return LearnedWhitening(rng.normal(size=dim).astype(np.float32), rng.normal(size=(dim, dim)))


def test_a_network_comes_back_bit_for_bit_in_any_memory_format(
    network: DescriptorNet, tmp_path: Path
) -> None:
    path = save_public_network(network.to(memory_format=torch.channels_last), tmp_path / "student.pth")
    loaded = load_network(path)
    assert loaded.spec == network.spec
    assert weights_digest(loaded) == weights_digest(network)
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(loaded(pixels), network.to(memory_format=torch.contiguous_format)(pixels))


def test_the_name_carries_the_hash_and_the_same_network_gives_the_same_file(
    network: DescriptorNet, tmp_path: Path
) -> None:
    path = save_public_network(network, str(tmp_path / "my-student.pth"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path == tmp_path / f"my-student-{digest[:7]}.pth"
    assert save_public_network(network, tmp_path / "other.pth").name == f"other-{digest[:7]}.pth"
    assert len(list(tmp_path.iterdir())) == 2


def test_the_file_needs_no_numpy_no_class_and_no_trust(network: DescriptorNet, tmp_path: Path) -> None:
    content = torch.load(save_public_network(network, tmp_path / "a.pth"), weights_only=True)
    assert set(content) == {"meta", "state_dict"}
    assert content["meta"] == {
        "architecture": "resnet18",
        "local_whitening": False,
        "pooling": "gem",
        "regional": False,
        "whitening": True,
        "mean": MEAN,
        "std": STD,
        "outputdim": 512,
    }
    assert type(content["state_dict"]) is dict


def test_the_formats_own_modules_take_the_weights_strictly(network: DescriptorNet, tmp_path: Path) -> None:
    """As its code builds them: the classifier's children without the last two, a pooling, a linear layer."""
    state = torch.load(save_public_network(network, tmp_path / "a.pth"), weights_only=True)["state_dict"]
    children = list(torchvision.models.resnet18(weights=None).children())
    assert len(children) == len(PLACES) + 2
    pool = nn.Module()
    pool.register_parameter("p", nn.Parameter(torch.ones(1)))
    theirs = nn.ModuleDict(
        {"features": nn.Sequential(*children[:-2]), "pool": pool, "whiten": nn.Linear(512, 512)}
    )
    theirs.load_state_dict(state, strict=True)
    assert pool.p.item() == 2.25
    assert torch.equal(theirs["features"][4][0].conv1.weight, network.trunk[4][0].conv1.weight)  # type: ignore[index]


def test_learned_whitenings_go_along_in_the_formats_own_types(network: DescriptorNet, tmp_path: Path) -> None:
    learned = {"retrieval-SfM-120k": {"ss": whitening(), "ms": whitening()}}
    parts = public_content(network, learned)["meta"]["Lw"]["retrieval-SfM-120k"]["ms"]
    assert (parts["m"].shape, parts["m"].dtype) == ((512, 1), np.float32)
    assert (parts["P"].shape, parts["P"].dtype) == ((512, 512), np.float64)
    path = save_public_network(network, tmp_path / "a.pth", learned)
    read = read_learned_whitenings(path)["retrieval-SfM-120k"]
    for kind in ("ss", "ms"):
        assert (read[kind].mean == whitening().mean).all()
        assert (read[kind].projection == whitening().projection).all()
    assert weights_digest(load_network(path)) == weights_digest(network)


def test_a_whitening_of_another_dimension_is_refused(network: DescriptorNet) -> None:
    with pytest.raises(ValueError, match="of 4-d descriptors does not fit a network of 512 dimensions"):
        public_content(network, {"a": {"ss": whitening(4)}})


@pytest.mark.parametrize(
    "arch", [*sorted({*ARCHITECTURES} - {*PUBLIC_ARCHITECTURES}), "resnet18-128", "mobilenet_v2-320x0.35"]
)
def test_an_architecture_that_the_format_does_not_know_is_refused_with_the_other_form(arch: str) -> None:
    with pytest.raises(ValueError, match=rf"has no {arch}: .*resnet34.*Use the safetensors form"):
        public_meta(NetworkSpec(arch), 320)


def test_another_kind_of_name_is_refused_and_nothing_written(network: DescriptorNet, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in \.pth; got a\.safetensors"):
        save_public_network(network, tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []
