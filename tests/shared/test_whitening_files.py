"""Whitenings in files of our own come back bit for bit, and other files are refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from shared.learned_whitening import LearnedWhitening
from shared.public_networks import read_learned_whitenings
from shared.tensor_files import CheckpointError
from shared.whitening_files import FORMAT, load_learned_whitenings, save_learned_whitenings


def whitening(seed: int) -> LearnedWhitening:
    rng = np.random.default_rng(seed)
    # As evaluation may hand it over: sliced and transposed, not contiguous.
    return LearnedWhitening(rng.normal(size=8)[::2], rng.normal(size=(4, 3)).T)


def test_what_is_saved_comes_back_bit_for_bit_also_through_the_reader_of_public_files(tmp_path: Path) -> None:
    path = tmp_path / "whitenings.safetensors"
    saved = {"retrieval-SfM-120k": {"ss": whitening(1), "ms": whitening(2)}, "a/b": {"ms": whitening(3)}}
    save_learned_whitenings(path, saved)
    for read in (load_learned_whitenings(str(path)), read_learned_whitenings(path)):
        assert {name: set(kinds) for name, kinds in read.items()} == {
            "retrieval-SfM-120k": {"ss", "ms"},
            "a/b": {"ms"},
        }
        for name, kinds in saved.items():
            for kind, expected in kinds.items():
                assert (read[name][kind].mean == expected.mean).all()
                assert (read[name][kind].projection == expected.projection).all()
    assert list(tmp_path.iterdir()) == [path]


def test_one_whitening_may_serve_for_one_scale_and_for_several(tmp_path: Path) -> None:
    save_learned_whitenings(tmp_path / "a.safetensors", {"a": dict.fromkeys(("ss", "ms"), whitening(1))})
    assert load_learned_whitenings(tmp_path / "a.safetensors")["a"].keys() == {"ss", "ms"}


def test_no_whitenings_are_a_file_too(tmp_path: Path) -> None:
    save_learned_whitenings(tmp_path / "a.safetensors", {})
    assert load_learned_whitenings(tmp_path / "a.safetensors") == {}


def test_a_whitening_is_for_one_scale_or_for_several(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one scale or several; got 'multi'"):
        save_learned_whitenings(tmp_path / "a.safetensors", {"a": {"multi": whitening(0)}})


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"w": torch.ones(1)}, path, {"format": "ration-network/1"})
    with pytest.raises(CheckpointError, match=r"ration-network/1.*holds no learned whitenings"):
        load_learned_whitenings(path)
    with pytest.raises(CheckpointError, match="There is no file"):
        load_learned_whitenings(tmp_path / "b.safetensors")


@pytest.mark.parametrize(
    "tensors",
    [
        {"m": torch.ones(2)},
        {"a/ss/m": torch.ones(2)},
        {"a/ss/m": torch.ones(2), "a/ss/P": torch.eye(3)},
        {"a/ss/m": torch.ones(2), "a/ss/P": torch.full((2, 2), torch.nan)},
    ],
)
def test_a_damaged_file_is_refused(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(tensors, path, {"format": FORMAT})
    with pytest.raises(CheckpointError, match="does not describe whitenings"):
        load_learned_whitenings(path)
