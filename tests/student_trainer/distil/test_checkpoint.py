"""A checkpoint is whole or the old one, and is refused for another recipe or other data."""

import os
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from full_disk import disk_full_at

from student_trainer.distil.checkpoint import Checkpoint
from student_trainer.errors import InvalidInput, StorageFailed
from student_trainer.recipe import Recipe, load


@pytest.fixture
def checkpoint(tiny_recipe: Recipe) -> Checkpoint:
    return Checkpoint(
        step=4,
        total_steps=9,
        recipe_digest=tiny_recipe.digest(),
        recipe=tiny_recipe.model_dump_json(),
        data_digest="d" * 64,
        student={"weight": torch.tensor([1.0, 2.0])},
        optimiser={"state": {0: {"exp_avg": torch.tensor([0.1, 0.2])}}, "param_groups": [{"lr": 0.1}]},
        averaging={"count": 1, "sums": {"weight": torch.tensor([3.0], dtype=torch.float64)}},
        epoch_losses=[0.5],
    )


def test_what_is_saved_comes_back(tmp_path: Path, checkpoint: Checkpoint) -> None:
    checkpoint.save(tmp_path)
    loaded = Checkpoint.load(tmp_path)
    assert loaded is not None
    assert (loaded.step, loaded.total_steps, loaded.epoch_losses) == (4, 9, [0.5])
    assert torch.equal(loaded.student["weight"], checkpoint.student["weight"])
    assert torch.equal(loaded.averaging["sums"]["weight"], checkpoint.averaging["sums"]["weight"])
    assert not loaded.finished
    assert replace(loaded, step=9).finished


def test_before_the_first_checkpoint_there_is_none(tmp_path: Path) -> None:
    assert Checkpoint.load(tmp_path / "checkpoints") is None


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, checkpoint: Checkpoint) -> None:
    folder = tmp_path / "checkpoints"
    checkpoint.save(folder)
    larger = replace(checkpoint, step=5, student={"weight": torch.zeros(100_000)})
    with disk_full_at(50_000), pytest.raises(StorageFailed, match="one before it is safe: make room"):
        larger.save(folder)
    loaded = Checkpoint.load(folder)
    assert loaded is not None
    assert loaded.step == 4
    assert [file.name for file in folder.iterdir()] == ["last.pt"]


def test_all_bytes_are_on_the_disk_before_the_file_takes_the_place_of_the_old_one(
    tmp_path: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut after the move would otherwise leave an empty file, and the old one would be gone."""
    synced: dict[int, int] = {}
    moved: list[tuple[str, str, bool]] = []
    fsync, replace_file = os.fsync, Path.replace

    def noting_fsync(descriptor: int) -> None:
        fsync(descriptor)
        synced[os.fstat(descriptor).st_ino] = os.fstat(descriptor).st_size

    def noting_replace(path: Path, target: Path) -> Path:
        whole = synced.get(path.stat().st_ino) == path.stat().st_size
        moved.append((path.name, target.name, whole))
        return replace_file(path, target)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(Path, "replace", noting_replace)
    checkpoint.save(tmp_path)
    assert moved == [("last.pt.part", "last.pt", True)]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut"])
def test_a_damaged_file_is_refused_with_the_way_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "last.pt").write_bytes(content)
    with pytest.raises(StorageFailed, match=r"last\.pt cannot be read .*--restart"):
        Checkpoint.load(tmp_path)


def test_one_wrong_bit_in_the_weights_is_refused(tmp_path: Path, checkpoint: Checkpoint) -> None:
    checkpoint.save(tmp_path)
    content = bytearray((tmp_path / "last.pt").read_bytes())
    place = bytes(content).index(struct.pack("<2f", 1.0, 2.0))
    content[place + 3] ^= 0x40
    (tmp_path / "last.pt").write_bytes(content)
    with pytest.raises(StorageFailed, match=r"last\.pt cannot be read \(.* is damaged in it\).*--restart"):
        Checkpoint.load(tmp_path)


def test_a_checkpoint_of_another_format_is_refused(tmp_path: Path, checkpoint: Checkpoint) -> None:
    replace(checkpoint, format="ration-training/0").save(tmp_path)
    with pytest.raises(StorageFailed, match="its format is 'ration-training/0'"):
        Checkpoint.load(tmp_path)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(tmp_path / "ran"),)

    torch.save({"format": Evil()}, tmp_path / "last.pt")
    with pytest.raises(StorageFailed):
        Checkpoint.load(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_the_same_recipe_and_data_continue(checkpoint: Checkpoint, tiny_recipe_file: Path) -> None:
    checkpoint.check_continues(load(tiny_recipe_file), "d" * 64)
    checkpoint.check_continues(load(tiny_recipe_file, ["training.device=cuda"]), "d" * 64)


def test_another_recipe_is_refused_and_what_changed_is_named(
    checkpoint: Checkpoint, tiny_recipe_file: Path
) -> None:
    changed = load(tiny_recipe_file, ["training.learning_rate=5e-3", "objective.tau=0.5"])
    with pytest.raises(InvalidInput) as caught:
        checkpoint.check_continues(changed, "d" * 64)
    message = str(caught.value)
    assert "4 of 9 steps" in message
    assert "training.learning_rate was 0.001 and is 0.005" in message
    assert "objective.tau was 0.75 and is 0.5" in message
    assert "--restart" in message


def test_other_data_are_refused(checkpoint: Checkpoint, tiny_recipe: Recipe) -> None:
    with pytest.raises(InvalidInput, match=r"descriptors or labels have changed.*--restart"):
        checkpoint.check_continues(tiny_recipe, "e" * 64)
