"""Small files that take much memory, or leave a network without weights, are refused by what they hold."""

import copy
import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from made_public_networks import MEAN, STD
from torch import Tensor

from shared.checkpoints import load_network
from shared.network import NetworkSpec, build_network, load_imagenet_weights
from shared.pickle_checks import Unfit, check_values
from shared.tensor_files import CheckpointError, read_pickle

ZIP, LEGACY = True, False


def records_of(content: object) -> dict[str, bytes]:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with zipfile.ZipFile(buffer) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_compressed_file_is_refused_before_it_is_inflated(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in records_of({"w": torch.zeros(5_000_000)}).items():
            archive.writestr(name, data)
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=r"bomb\.pth is refused: its record '\S+' is compressed"):
            read_pickle(path)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_records_that_lie_on_top_of_each_other_are_refused(tmp_path: Path) -> None:
    """A directory may name one place a thousand times."""
    path = tmp_path / "bomb.pth"
    content = {f"w{index}": torch.full((1_000,), float(index)) for index in range(50)}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in records_of(content).items():
            storage = name.rpartition("/")[2] if "/data/" in name else "0"
            if storage == "0":
                archive.writestr(name, data)
            else:
                again = copy.copy(archive.getinfo(name.replace(f"/data/{storage}", "/data/0")))
                again.filename = name
                archive.filelist.append(again)
    assert path.stat().st_size < 20_000
    with pytest.raises(
        CheckpointError, match=r"its records claim 20\d,\d{3} bytes, but the file has 1\d,\d{3}"
    ):
        read_pickle(path)


def test_two_records_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    records = records_of({"w": torch.ones(4)})
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        for name, data in [*records.items(), *records.items()]:
            archive.writestr(name, data)
    with pytest.raises(CheckpointError, match="two of its records have one name"):
        read_pickle(path)


DENSE: dict[str, Callable[[Tensor], Tensor]] = {
    "layout torch.sparse_coo": lambda tensor: tensor.to_sparse(),
    "layout torch.sparse_csr": lambda tensor: tensor.reshape(len(tensor), -1).to_sparse_csr(),
    "device meta, without values": lambda tensor: tensor.to("meta"),
    r"quantised \(torch\.qint8\)": lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
    "bytes, of which there are 4": lambda tensor: torch.ones(1).expand(tensor.shape),
}
WARNINGS = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


@WARNINGS
@pytest.mark.parametrize("zipped", [ZIP, LEGACY], ids=["zip", "legacy"])
@pytest.mark.parametrize("fault", DENSE)
def test_a_network_with_a_tensor_that_is_not_dense_is_refused_by_its_name(
    tmp_path: Path, fault: str, zipped: bool
) -> None:
    meta = {"architecture": "resnet18", "pooling": "gem", "mean": MEAN, "std": STD}
    content = {"meta": meta, "state_dict": {"features.0.weight": DENSE[fault](torch.ones(64, 3))}}
    path = tmp_path / "a.pth"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        CheckpointError, match=rf"a\.pth is refused: state_dict\.features\.0\.weight is .*{fault}"
    ):
        load_network(path)


@WARNINGS
@pytest.mark.parametrize("fault", DENSE)
def test_imagenet_weights_that_are_not_dense_are_refused_by_their_name(tmp_path: Path, fault: str) -> None:
    torch.save({"bn1.weight": DENSE[fault](torch.ones(64, 2))}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=rf"w\.pth is refused: bn1\.weight is .*{fault}"):
        load_imagenet_weights(build_network(NetworkSpec("resnet18")), tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("array", "complaint"),
    [
        (np.broadcast_to(np.float64(1), (10**6, 10**6)), "of 8,000,000,000,000 bytes of type float64"),
        (np.array(["a", None], dtype=object), "of 16 bytes of type object"),
    ],
    ids=["repeated", "objects"],
)
def test_arrays_that_are_larger_than_their_file_or_hold_objects_are_refused(
    array: np.ndarray, complaint: str
) -> None:
    with pytest.raises(Unfit, match=rf"meta\.Lw\.ss\.1 is an array {complaint}"):
        check_values({"meta": {"Lw": {"ss": [0, array]}}}, 1_000)


def test_shared_and_self_containing_values_are_looked_at_once() -> None:
    ring: list[object] = [torch.ones(2)]
    ring.append(ring)
    value: object = ring
    for _ in range(60):
        value = [value, value]
    check_values(value, 8)
