"""Files of weights: whole ones are read, hostile and damaged ones are refused, and nothing in them runs."""

import hashlib
import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from shared.tensor_files import (
    CheckpointError,
    as_tensors,
    check_hash_in_name,
    fit,
    read_pickle,
    read_safetensors,
    read_safetensors_metadata,
)


class Attack:
    """Unpickled without restriction, it writes a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.trace),)


ZIP, LEGACY = True, False


def write(content: object, path: Path, zipped: bool = ZIP) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


# Pickles


@pytest.mark.parametrize("zipped", [ZIP, LEGACY], ids=["zip", "legacy"])
def test_tensors_plain_values_and_numpy_arrays_are_read(zipped: bool, tmp_path: Path) -> None:
    content = {
        "tensor": torch.arange(4.0),
        "text": "resnet101",
        "list": [0.485, True, None],
        "m": np.ones((3, 1), dtype=np.float32),
        "P": np.eye(3),
        "min_loss": np.float64(0.25),
    }
    read = read_pickle(write(content, tmp_path / "a.pth", zipped))
    assert torch.equal(read["tensor"], content["tensor"])
    assert read["list"] == content["list"]
    for name in ("m", "P"):
        assert read[name].dtype == content[name].dtype
        np.testing.assert_array_equal(read[name], content[name])
    assert read["min_loss"] == 0.25


@pytest.mark.parametrize("module", [b"numpy._core.multiarray", b"numpy.core.multiarray"])
def test_arrays_written_under_either_generation_of_numpy_are_read(module: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    buffer = io.BytesIO()
    torch.save({"P": np.eye(2)}, buffer, _use_new_zipfile_serialization=LEGACY)
    path.write_bytes(buffer.getvalue().replace(b"numpy._core.multiarray", module))
    np.testing.assert_array_equal(read_pickle(path)["P"], np.eye(2))


@pytest.mark.parametrize("zipped", [ZIP, LEGACY], ids=["zip", "legacy"])
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(zipped: bool, tmp_path: Path) -> None:
    trace = tmp_path / "it_ran"
    path = write({"meta": Attack(trace), "state_dict": {}}, tmp_path / "attack.pth", zipped)
    with pytest.raises(CheckpointError, match=r"would run code when read \(posix\.mkdir\)"):
        read_pickle(path)
    assert not trace.exists()


def test_a_bare_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    trace, path = tmp_path / "it_ran", tmp_path / "attack.pth"
    path.write_bytes(pickle.dumps(Attack(trace), protocol=2))
    with pytest.raises(CheckpointError, match="refused"):
        read_pickle(path)
    assert not trace.exists()


def test_a_pickled_module_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"refused: .*torch\.nn\.modules\.linear\.Linear"):
        read_pickle(write(nn.Linear(2, 2), tmp_path / "module.pth"))


@pytest.mark.parametrize("zipped", [ZIP, LEGACY], ids=["zip", "legacy"])
def test_a_cut_file_is_refused_wherever_it_is_cut(zipped: bool, tmp_path: Path) -> None:
    data = write({"weight": torch.ones(64)}, tmp_path / "whole.pth", zipped).read_bytes()
    cut = tmp_path / "cut.pth"
    for length in range(0, len(data) - 1, 37):
        cut.write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=r"cut\.pth"):
            read_pickle(cut)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    for read in (read_pickle, read_safetensors, read_safetensors_metadata):
        with pytest.raises(CheckpointError, match=r"There is no file .*none\.pth"):
            read(tmp_path / "none.pth")


# Hashes in names


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".pth.tar"])
@pytest.mark.parametrize("digits", [7, 8, 64])
def test_a_name_that_carries_the_right_hash_is_accepted(suffix: str, digits: int, tmp_path: Path) -> None:
    data = write({"weight": torch.ones(3)}, tmp_path / "plain.pth").read_bytes()
    named = tmp_path / f"gl18-tl-resnet50-gem-w-{hashlib.sha256(data).hexdigest()[:digits]}{suffix}"
    named.write_bytes(data)
    assert torch.equal(read_pickle(named)["weight"], torch.ones(3))


def test_a_name_that_carries_another_hash_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    trace = tmp_path / "it_ran"
    path = write(Attack(trace), tmp_path / "retrievalSfM120k-resnet101-gem-b80fb85.pth")
    with pytest.raises(
        CheckpointError, match=r"promises a SHA-256 that starts with b80fb85; its content has [0-9a-f]{7}\."
    ):
        read_pickle(path)


@pytest.mark.parametrize(
    "name",
    [
        "model_best.pth.tar",
        "resnet101-gem.pth",
        "a-12345.pth",
        "net-ABCDEF1.pth",
        "b80fb85.pth",
        "x-b80fb85.bin",
    ],
)
def test_a_name_without_a_hash_promises_nothing(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"anything")
    check_hash_in_name(path)


# safetensors


def test_tensors_and_metadata_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"w": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(4)}, path, {"spec": "x"})
    tensors, metadata = read_safetensors(path)
    assert torch.equal(tensors["w"], torch.arange(6.0).reshape(2, 3))
    assert tensors["n"].item() == 4
    assert metadata == read_safetensors_metadata(path) == {"spec": "x"}


def test_what_was_read_outlives_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"w": torch.ones(1000)}, path)
    tensors, _ = read_safetensors(path)
    path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(tensors["w"], torch.ones(1000))


@pytest.mark.parametrize("keep", [0, 4, 20, -1])
def test_a_cut_safetensors_file_is_refused(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"w": torch.ones(8)}, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"a\.safetensors is not a whole safetensors file"):
        read_safetensors(path)


# Fitting


def layer_state(**changes: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"weight": torch.ones(2, 3), "bias": torch.zeros(2), **changes}


def test_exact_tensors_are_taken_over() -> None:
    layer = nn.Linear(3, 2)
    fit(layer, layer_state(bias=torch.tensor([1.0, 2.0])), "a file")
    assert layer.weight.tolist() == [[1.0] * 3] * 2
    assert layer.bias.tolist() == [1.0, 2.0]


def test_a_module_without_storage_takes_the_tensors_as_its_own() -> None:
    with torch.device("meta"):
        norm = nn.BatchNorm2d(2)
    half = torch.tensor([1.0, 2.0], dtype=torch.float16)
    fit(norm, {"weight": half, "bias": half, "running_mean": half, "running_var": half}, "a file")
    assert {tensor.device.type for tensor in norm.state_dict().values()} == {"cpu"}
    assert norm.running_mean is not None
    assert (norm.weight.dtype, norm.running_mean.dtype) == (torch.float32, torch.float32)
    assert norm.weight.requires_grad
    assert norm.num_batches_tracked is not None
    assert (norm.num_batches_tracked.item(), norm.num_batches_tracked.dtype) == (0, torch.int64)


def test_the_first_five_missing_and_unknown_names_are_given() -> None:
    unknown = {f"extra{index}": torch.zeros(1) for index in range(7)}
    with pytest.raises(CheckpointError) as refusal:
        fit(nn.Linear(3, 2), {"weight": torch.ones(2, 3), **unknown}, "w.pth")
    assert str(refusal.value) == (
        "w.pth does not fit Linear: 1 missing (bias); "
        "7 unknown (extra0, extra1, extra2, extra3, extra4, ...)."
    )


def test_a_wrong_shape_is_refused_and_leaves_the_module_as_it_was() -> None:
    layer = nn.Linear(3, 2)
    before = layer.weight.clone()
    with pytest.raises(CheckpointError, match=r"bias has shape \(3,\), expected \(2,\)"):
        fit(layer, layer_state(bias=torch.zeros(3)), "a file")
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("content", [[1], {"a": 1}, {1: torch.ones(1)}, None])
def test_what_is_not_tensors_by_name_is_refused(content: object) -> None:
    with pytest.raises(TypeError, match="expected tensors by name"):
        as_tensors(content)
