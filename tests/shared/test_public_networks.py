"""Public files: whole ones give the network of their definition; every other is refused by what differs."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from made_public_networks import public_content
from numpy.typing import NDArray
from torch import Tensor

from shared.checkpoints import load_network
from shared.network import NetworkSpec
from shared.public_networks import read_learned_whitenings
from shared.tensor_files import CheckpointError


def images() -> Tensor:
    return torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def classifier() -> torchvision.models.ResNet:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return torchvision.models.resnet18(weights=None).eval()


# Networks


@torch.no_grad()
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_public_checkpoint_gives_the_descriptors_of_its_definition(
    classifier: torchvision.models.ResNet, zipped: bool, tmp_path: Path
) -> None:
    path = tmp_path / "model_best.pth.tar"
    whitening = {"retrieval-SfM-120k": {"ss": {"m": np.ones((512, 1), np.float32), "P": np.eye(512)}}}
    content = public_content(classifier, Lw=whitening)
    extras = {"epoch": 30, "min_loss": np.float64(0.1), "optimizer": {"state": {}, "param_groups": []}}
    torch.save({**content, **extras}, path, _use_new_zipfile_serialization=zipped)
    loaded = load_network(path)

    x = classifier.maxpool(classifier.relu(classifier.bn1(classifier.conv1(images()))))
    maps = classifier.layer4(classifier.layer3(classifier.layer2(classifier.layer1(x))))
    pooled = (np.maximum(maps.double().numpy(), 1e-6) ** 2.9).mean(axis=(2, 3)) ** (1 / 2.9)
    expected = pooled / (np.linalg.norm(pooled, axis=1, keepdims=True) + 1e-6)
    assert loaded.spec == NetworkSpec("resnet18", "gem")
    assert not loaded.training
    np.testing.assert_allclose(loaded(images()).numpy(), expected, atol=1e-6)


@torch.no_grad()
def test_a_public_checkpoint_with_whitening_whitens(
    classifier: torchvision.models.ResNet, tmp_path: Path
) -> None:
    path = tmp_path / "white.pth"
    content = public_content(classifier, whitening=True)
    content["state_dict"] |= {"whiten.weight": torch.eye(512).flip(0), "whiten.bias": torch.zeros(512)}
    torch.save(content, path)
    plain = tmp_path / "plain.pth"
    torch.save(public_content(classifier), plain)
    torch.testing.assert_close(
        load_network(path)(images()), load_network(plain)(images()).flip(1), atol=1e-5, rtol=0
    )


def test_a_public_file_under_its_hashed_name_is_read_and_a_damaged_one_refused(
    classifier: torchvision.models.ResNet, tmp_path: Path
) -> None:
    plain = tmp_path / "plain.pth"
    torch.save(public_content(classifier), plain)
    data = plain.read_bytes()
    named = tmp_path / f"rSfM120k-tl-resnet18-gem-{hashlib.sha256(data).hexdigest()[:7]}.pth"
    named.write_bytes(data)
    assert load_network(named).spec.arch == "resnet18"
    named.write_bytes(data + b"\0")
    with pytest.raises(CheckpointError, match="promises a SHA-256"):
        load_network(named)


@pytest.mark.parametrize("read", [load_network, read_learned_whitenings])
def test_a_public_file_that_is_not_there_says_where_to_get_it(
    read: Callable[[Path], object], tmp_path: Path
) -> None:
    for name, address in (
        ("retrievalSfM120k-resnet101-gem-b80fb85.pth", "networks/retrieval-SfM-120k/retrievalSfM120k-resnet"),
        (
            "gl18-tl-resnet152-gem-w-21278d5.pth",
            "networks/gl18/gl18-tl-resnet152-gem-w-21278d5.pth, keep its name",
        ),
    ):
        with pytest.raises(CheckpointError, match=f"download http://cmp.felk.cvut.cz/.*{address}"):
            read(tmp_path / name)


def test_a_public_name_that_was_never_published_is_answered_by_those_that_were(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"No such file was published; .*b80fb85\.pth, .*21278d5\.pth"):
        load_network(tmp_path / "gl18-tl-resnet18-gem-w.pth")


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        ({"architecture": "densenet121"}, "Unknown architecture 'densenet121'"),
        ({"architecture": "vgg16"}, r"missing \(features\.0\.bias, .*unknown \(features\.1\.weight"),
        ({"architecture": 3}, "does not describe a network"),
        ({"pooling": "gemmp"}, "Unknown pooling 'gemmp'"),
        ({"regional": True}, "networks with regional are not supported.* pools the whole map"),
        ({"local_whitening": True, "regional": True}, "local_whitening and regional"),
        ({"mean": [0.5, 0.5, 0.5]}, r"normalised with mean \[0\.5, 0\.5, 0\.5\]; only ImageNet's"),
        ({"std": [1.0]}, r"normalised with std \[1\.0\]"),
        ({"mean": "grey"}, "does not describe a network"),
        ({"whitening": True}, r"2 missing \(whiten\.weight, whiten\.bias\)"),
        ({"architecture": "resnet34"}, r"missing \(features\.4\.2\.conv1\.weight, .*, \.\.\.\)"),
    ],
)
def test_a_public_network_of_another_kind_is_refused_by_what_differs(
    classifier: torchvision.models.ResNet, meta: dict[str, object], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.pth"
    torch.save(public_content(classifier, **meta), path)
    with pytest.raises(CheckpointError, match=reason):
        load_network(path)


@pytest.mark.parametrize("key", ["architecture", "pooling", "mean", "std"])
def test_a_public_file_without_a_required_fact_is_refused(
    classifier: torchvision.models.ResNet, key: str, tmp_path: Path
) -> None:
    content = public_content(classifier)
    del content["meta"][key]
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=f"its 'meta' lacks {key}"):
        load_network(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"weight": torch.ones(1)}, "lacks 'meta' and 'state_dict'"),
        ([1], "lacks 'meta' and 'state_dict'"),
        ({"meta": None, "state_dict": {}}, "does not describe a network"),
        ({"meta": {}, "state_dict": {}}, "lacks architecture, pooling, mean, std"),
    ],
)
def test_a_pth_file_of_something_else_is_refused(content: object, reason: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=reason):
        load_network(tmp_path / "a.pth")


def test_a_public_state_that_is_not_tensors_is_refused(
    classifier: torchvision.models.ResNet, tmp_path: Path
) -> None:
    content = public_content(classifier)
    content["state_dict"]["pool.p"] = 3.0
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"found float under 'pool\.p'"):
        load_network(tmp_path / "a.pth")


def test_a_tensor_of_another_shape_is_refused_by_its_name_in_the_file(
    classifier: torchvision.models.ResNet, tmp_path: Path
) -> None:
    content = public_content(classifier)
    content["state_dict"]["pool.p"] = torch.ones(512)
    content["state_dict"]["features.1.weight"] = torch.ones(32)
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"features\.1\.weight has shape \(32,\), expected \(64,\)"):
        load_network(tmp_path / "a.pth")


# Learned whitenings


def whitening(seed: int, dim: int = 6) -> dict[str, NDArray[np.floating]]:
    rng = np.random.default_rng(seed)
    return {"m": rng.normal(size=(dim, 1)).astype(np.float32), "P": rng.normal(size=(dim, dim))}


def file_with(learned: object, path: Path, zipped: bool = True) -> Path:
    """Tensors do not matter here."""
    content = {"meta": {"architecture": "resnet18", "Lw": learned}, "state_dict": {}}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_learned_whitenings_are_read_by_data_set_and_number_of_scales(zipped: bool, tmp_path: Path) -> None:
    learned = {
        "retrieval-SfM-120k": {"ss": whitening(1), "ms": whitening(2)},
        "retrieval-SfM-30k": {"ms": whitening(3)},
    }
    read = read_learned_whitenings(file_with(learned, tmp_path / "a.pth", zipped))
    assert {name: list(kinds) for name, kinds in read.items()} == {
        "retrieval-SfM-120k": ["ss", "ms"],
        "retrieval-SfM-30k": ["ms"],
    }
    for name, kinds in learned.items():
        for kind, parts in kinds.items():
            assert (read[name][kind].mean == parts["m"][:, 0]).all()
            assert (read[name][kind].projection == parts["P"]).all()


def test_one_whitening_under_many_names_is_refused(tmp_path: Path) -> None:
    path = file_with(
        {str(number): {"ss": (one := whitening(1)), "ms": one} for number in range(17)}, tmp_path / "a"
    )
    with pytest.raises(CheckpointError, match="holds 34 whitenings; at most 32 are read"):
        read_learned_whitenings(path)


@pytest.mark.parametrize("meta", [{}, {"Lw": None}, {"Lw": {}}])
def test_a_file_without_whitenings_has_none(meta: dict[str, object], tmp_path: Path) -> None:
    torch.save({"meta": meta, "state_dict": {}}, tmp_path / "a.pth")
    assert read_learned_whitenings(str(tmp_path / "a.pth")) == {}


@pytest.mark.parametrize(
    ("learned", "reason"),
    [
        ([1], "does not describe learned whitenings"),
        ({"a": {"ss": {"m": np.ones((2, 1))}}}, "does not describe learned whitenings .*'P'"),
        ({"a": {"ss": {"m": np.ones(2), "P": np.eye(2)}}}, r"m has the shape \(2,\), expected one column"),
        ({"a": {"ss": {"m": np.ones((3, 1)), "P": np.eye(2)}}}, r"got the shapes \(3,\) and \(2, 2\)"),
        ({"a": {"ss": {"m": np.ones((2, 1)), "P": np.eye(2) * np.nan}}}, "NaN or infinity"),
        ({"a": {"ss": {"m": "x", "P": np.eye(2)}}}, "does not describe learned whitenings"),
    ],
)
def test_damaged_whitenings_are_refused(learned: object, reason: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"a\.pth .*{reason}"):
        read_learned_whitenings(file_with(learned, tmp_path / "a.pth"))


def test_whitenings_of_a_file_that_is_no_network_are_refused(tmp_path: Path) -> None:
    torch.save(whitening(0), tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="lacks 'meta' and 'state_dict'"):
        read_learned_whitenings(tmp_path / "a.pth")
