"""The time of an image: with the threads of the run, however many a cell has."""

from typing import Any

import pytest
import torch

from shared.extraction import describe_pixels
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
