"""Images are known by their bytes: what was learned from is not measured on without a word."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from command_line import Run

Trainings = list[tuple[str, int]]


@pytest.fixture
def leaking(inputs: Any, tmp_path: Path) -> Path:
    """The manifest, whose test images are joined by copies of two bought ones under other names."""
    header, *rows = inputs.manifest.read_text().splitlines()
    lines = [header, *(f"{inputs.root}/{row}" for row in rows)]
    for place in range(2):
        shutil.copy(inputs.root / "bought" / f"{place:03}.png", tmp_path / f"copy{place}.png")
        lines.append(f"{tmp_path}/copy{place}.png,{place},0,test")
    path = tmp_path / "leaking.csv"
    path.write_text("\n".join(lines))
    return path


def test_labelled_images_that_are_measured_on_are_refused_whatever_they_are_called(
    reproduce: Run, inputs: Any, trainings: Trainings, leaking: Path, tmp_path: Path
) -> None:
    options = (*inputs.options(tmp_path / "out"), "--manifest", leaking, "--train-split", "train")
    ended = reproduce("table2", *options)
    assert ended.code == 2
    assert "2 of the 80 labelled images to learn from are measured on too: the same bytes" in ended.err
    assert trainings == []


def test_bought_images_that_are_measured_on_are_counted_on_the_page(
    reproduce: Run, inputs: Any, leaking: Path, tmp_path: Path
) -> None:
    words = ("table6", *inputs.options(tmp_path / "out"), "--page-only")
    told = "2 of the bought images are measured on too"
    assert told in reproduce(*words, "--manifest", leaking).out
    assert told in (tmp_path / "out" / "reproduce.html").read_text()
    assert told not in reproduce(*words).out


def test_no_whitening_is_learned_from_images_that_are_measured_on(
    reproduce: Run, inputs: Any, leaking: Path, tmp_path: Path
) -> None:
    ended = reproduce("table3", *inputs.options(tmp_path / "out"), "--manifest", leaking)
    assert ended.code == 2
    told = "a whitening is learned from the bought images, and 2 of 36 are measured on too, the first is"
    assert told in ended.err
