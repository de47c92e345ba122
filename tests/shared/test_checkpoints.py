"""Networks on disk: what is saved comes back bit for bit; the public format gives torchvision's features."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import Tensor

from shared.batch_norm import calibrate_batch_norm
from shared.checkpoints import CheckpointError, load_network, read_notes, save_network, weights_digest
from shared.images import IMAGENET_MEAN, IMAGENET_STD
from shared.network import DescriptorNet, NetworkSpec, build_network

SMALL = NetworkSpec("mobilenet_v2-320x0.1", whitening=True)
PUBLIC_INDEX = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}


def images(batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, 64, 48, generator=torch.Generator().manual_seed(0))


def network(seed: int = 0, spec: NetworkSpec = SMALL) -> DescriptorNet:
    built = build_network(spec, seed=seed)
    calibrate_batch_norm(built, [images(4)])
    return built.eval()


@pytest.fixture(scope="module")
def classifier() -> torchvision.models.ResNet:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return torchvision.models.resnet18(weights=None).eval()


def public_content(classifier: torchvision.models.ResNet, **meta: Any) -> dict[str, Any]:
    """A checkpoint as the public code writes it, from torchvision's names by the published mapping."""
    state = {"pool.p": torch.tensor([2.9])}
    for name, tensor in classifier.state_dict().items():
        part, _, rest = name.partition(".")
        if part in PUBLIC_INDEX and not name.endswith("num_batches_tracked"):
            state[f"features.{PUBLIC_INDEX[part]}.{rest}"] = tensor
    known = {
        "architecture": "resnet18",
        "pooling": "gem",
        "mean": list(IMAGENET_MEAN),
        "std": list(IMAGENET_STD),
    }
    return {"meta": {**known, "outputdim": 512, **meta}, "state_dict": state}


# Our format


@torch.no_grad()
def test_a_saved_network_comes_back_bit_for_bit_in_evaluation_mode(tmp_path: Path) -> None:
    saved = network()
    saved.pool.p.fill_(2.5)  # type: ignore[operator,union-attr]
    save_network(saved, tmp_path / "a.safetensors")
    loaded = load_network(tmp_path / "a.safetensors")
    assert loaded.spec == SMALL
    assert not loaded.training
    assert torch.equal(loaded(images()), saved(images()))
    assert weights_digest(loaded) == weights_digest(saved)


def test_paths_may_be_plain_text(tmp_path: Path) -> None:
    path = str(tmp_path / "a.safetensors")
    save_network(network(), path, {"from": "here"})
    assert weights_digest(load_network(path)) == weights_digest(network())
    assert read_notes(path) == {"from": "here"}
    with pytest.raises(CheckpointError, match="no file"):
        load_network(str(tmp_path / "b.pth"))


def test_a_loaded_network_can_be_trained(tmp_path: Path) -> None:
    save_network(network(), tmp_path / "a.safetensors")
    loaded = load_network(tmp_path / "a.safetensors").train()
    loaded(images()).pow(3).sum().backward()
    assert all(parameter.grad is not None for parameter in loaded.parameters())


def test_notes_come_back_and_are_optional(tmp_path: Path) -> None:
    notes = {"trained_on": "rendered landmarks", "überschrift": "ja"}
    save_network(network(), tmp_path / "a.safetensors", notes)
    assert read_notes(tmp_path / "a.safetensors") == notes
    save_network(network(), tmp_path / "a.safetensors")
    assert read_notes(tmp_path / "a.safetensors") == {}


def test_a_failed_save_keeps_the_older_file_and_leaves_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.safetensors"
    save_network(network(0), path)

    def full_disk(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_network(network(1), path)
    assert weights_digest(load_network(path)) == weights_digest(network(0))
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_of_classifier_weights_is_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "imagenet.safetensors"
    save_file({"fc.weight": torch.ones(2)}, path)
    with pytest.raises(CheckpointError, match="name it as weights of an architecture, not as a checkpoint"):
        load_network(path)
    with pytest.raises(CheckpointError, match="format None"):
        read_notes(path)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ('{"arch":"vgg16","pooling":"gem"}', "Unknown architecture 'vgg16'"),
        ('{"pooling":"gem"}', "does not describe a network"),
        ("[]", "does not describe a network"),
        ("{", "does not describe a network"),
        ('{"arch":"resnet18","pooling":"gem","whitening":false}', "does not fit DescriptorNet"),
    ],
)
def test_a_damaged_description_is_refused(spec: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_network(network(), path)
    save_file(load_file(path), path, {"format": "ration-network/1", "spec": spec, "notes": "{}"})
    with pytest.raises(CheckpointError, match=reason):
        load_network(path)


# The public format


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


def test_a_public_file_that_is_not_there_says_where_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="public networks of cnnimageretrieval-pytorch: download it"):
        load_network(tmp_path / "retrievalSfM120k-resnet101-gem-b80fb85.pth")


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        ({"architecture": "vgg16"}, "Unknown architecture 'vgg16'"),
        ({"architecture": 3}, "does not describe a network"),
        ({"pooling": "gemmp"}, "Unknown pooling 'gemmp'"),
        ({"regional": True}, "networks with regional are not supported"),
        ({"local_whitening": True, "regional": True}, "local_whitening and regional"),
        ({"mean": [0.5, 0.5, 0.5]}, r"normalised with mean \[0\.5, 0\.5, 0\.5\]; only ImageNet's"),
        ({"std": [1.0]}, r"normalised with std \[1\.0\]"),
        ({"mean": "grey"}, "does not describe a network"),
        ({"whitening": True}, r"2 missing \(whiten\.weight, whiten\.bias\)"),
        ({"architecture": "resnet34"}, r"missing \(trunk\.4\.2\.conv1\.weight, .*, \.\.\.\)"),
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


# Digests


def test_the_digest_does_not_depend_on_the_kind_of_file(
    classifier: torchvision.models.ResNet, tmp_path: Path
) -> None:
    torch.save(public_content(classifier), tmp_path / "public.pth")
    public = load_network(tmp_path / "public.pth")
    save_network(public, tmp_path / "ours.safetensors", {"a": "note"})
    assert weights_digest(load_network(tmp_path / "ours.safetensors")) == weights_digest(public)


def test_the_digest_ignores_batch_counters_and_the_mode() -> None:
    plain = network()
    before = weights_digest(plain)
    for name, buffer in plain.named_buffers():
        if name.endswith("num_batches_tracked"):
            buffer.fill_(99)
    assert weights_digest(plain.train()) == before


@torch.no_grad()
@pytest.mark.parametrize("name", ["pool.p", "trunk.0.0.weight", "trunk.0.1.running_mean", "whiten.bias"])
def test_the_digest_notices_one_changed_value_of_any_kind(name: str) -> None:
    changed = network()
    before = weights_digest(changed)
    tensor = changed.state_dict()[name].view(-1)
    tensor[0] = torch.nextafter(tensor[0], torch.tensor(torch.inf))
    assert weights_digest(changed) != before


def test_the_digest_is_that_of_its_documented_form() -> None:
    tiny = network()
    digest = hashlib.sha256()
    state = tiny.state_dict()
    for name in sorted(name for name in state if "num_batches_tracked" not in name):
        head = json.dumps([name, list(state[name].shape)], separators=(",", ":"))
        digest.update(head.encode() + state[name].numpy().tobytes())
    assert weights_digest(tiny) == digest.hexdigest()
