"""What an image costs: its time with the threads of the run, however many a cell has, and multiply-adds."""

from pathlib import Path
from typing import Any

import pytest
import torch
from made_purchases import paint

from shared.checkpoints import load_network
from shared.extraction import describe_pixels
from shared.images import Preprocessing, load_pixels
from shared.multiply_adds import multiply_adds, parameter_count
from student_trainer.errors import InvalidInput
from student_trainer.reproduce import measures
from student_trainer.reproduce.measures import Cost


def test_a_cell_with_fewer_threads_writes_the_record_that_the_run_looks_for(
    inputs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(2)
    cost = Cost((inputs.root / "test" / "0.png",), 24, "cpu")
    digest, sentence = cost.digest(), cost.sentence
    torch.set_num_threads(1)  # as a process has that runs beside another
    timed_with: list[int] = []

    def noting(*words: Any) -> torch.Tensor:
        timed_with.append(torch.get_num_threads())
        return describe_pixels(*words)

    monkeypatch.setattr(measures, "describe_pixels", noting)
    assert (cost.digest(), cost.sentence) == (digest, sentence)
    assert cost.measure(inputs.teacher)["ms an image"] > 0
    assert timed_with == [2, 2]  # once to warm up
    assert torch.get_num_threads() == 1


def test_multiply_adds_are_the_mean_over_the_images_as_they_are_shown(inputs: Any) -> None:
    images = tuple(sorted((inputs.root / "test").glob("*.png")))[:3]
    network = load_network(inputs.teacher)
    counts = [multiply_adds(network.spec, *load_pixels(path, Preprocessing(20)).shape[:2]) for path in images]
    found = Cost(images, 20, "cpu").measure(inputs.teacher)
    assert found["G multiply-adds"] == pytest.approx(sum(counts) / len(counts) / 1e9)
    assert found["parameters"] == parameter_count(network)
    assert list(found) == [column.name for column in Cost.columns]


def test_other_images_under_the_same_names_are_another_cost(tmp_path: Path) -> None:
    """A taller image takes more multiply-adds."""
    image = paint(tmp_path / "0.png", 0)
    cost = Cost((image,), 24, "cpu")
    digest = cost.digest()
    assert (
        Cost((image.rename(tmp_path / "1.png"),), 24, "cpu").digest()
        != Cost((paint(tmp_path / "0.png", 1),), 24, "cpu").digest()
    )
    assert Cost((tmp_path / "1.png",), 24, "cpu").digest() == digest == cost.digest()
    with pytest.raises(InvalidInput, match=r"0\.png changed while it was used"):
        cost.require_unchanged()
