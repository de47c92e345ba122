"""Networks on disk: what is saved comes back bit for bit, and its digest is of no file's form."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
import torchvision
from full_disk import disk_full_at
from made_public_networks import public_content
from safetensors.torch import load_file, save_file
from torch import Tensor

from shared.batch_norm import calibrate_batch_norm
from shared.checkpoints import CheckpointError, load_network, read_notes, save_network, weights_digest
from shared.network import DescriptorNet, NetworkSpec, build_network

SMALL = NetworkSpec("mobilenet_v2-320x0.1", whitening=True)


def images(batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, 64, 48, generator=torch.Generator().manual_seed(0))


def network(seed: int = 0, spec: NetworkSpec = SMALL) -> DescriptorNet:
    built = build_network(spec, seed=seed)
    calibrate_batch_norm(built, [images(4)])
    return built.eval()


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


def test_the_same_network_and_notes_give_the_same_bytes(tmp_path: Path) -> None:
    path, written = tmp_path / "a.safetensors", set()
    for notes in ({"from": "here", "überschrift": "ja"}, {"überschrift": "ja", "from": "here"}) * 10:
        save_network(network(), path, notes)
        written.add(path.read_bytes())
    assert len(written) == 1


def test_the_file_is_one_that_any_reader_of_safetensors_reads(tmp_path: Path) -> None:
    saved, path = network(), tmp_path / "a.safetensors"
    save_network(saved, path, {"überschrift": "ja"})
    state, read = saved.state_dict(), load_file(path)
    assert {name: tensor.dtype for name, tensor in read.items()} == {n: t.dtype for n, t in state.items()}
    assert all(torch.equal(tensor, state[name]) for name, tensor in read.items())
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    assert length % 8 == 0
    assert list(json.loads(data[8 : 8 + length])["__metadata__"]) == ["format", "notes", "spec"]


def test_a_file_with_metadata_in_another_order_is_read_too(tmp_path: Path) -> None:
    saved, path = network(), tmp_path / "a.safetensors"
    save_network(saved, path, {"from": "here"})
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(reversed(header["__metadata__"].items()))
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[end:])
    assert read_notes(path) == {"from": "here"}
    assert weights_digest(load_network(path)) == weights_digest(saved)


def test_a_failed_save_keeps_the_older_file_and_leaves_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_network(network(0), path)
    with disk_full_at(1_000), pytest.raises(OSError, match="File too large"):
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
        ('{"arch":"vgg11","pooling":"gem"}', "Unknown architecture 'vgg11'"),
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


# Digests


def test_the_digest_does_not_depend_on_the_kind_of_file(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        torch.save(public_content(torchvision.models.resnet18(weights=None)), tmp_path / "public.pth")
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
