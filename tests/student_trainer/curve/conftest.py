"""A run folder whose descriptors were bought, tiny images and a tiny recipe."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from made_purchases import PLACES, TINY_RECIPE, bought_run, paint

from student_trainer.run_folder import RunFolder


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Small matrices on few cores: more threads only wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY_RECIPE)
    return path


@pytest.fixture
def buy(tmp_path: Path) -> Callable[..., RunFolder]:
    """Makes a run folder with ``n`` bought images."""
    return partial(bought_run, tmp_path)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """12 labelled images that were not bought."""
    lines = [f"{paint(tmp_path / 'test' / f'{i}.png', 500 + i)},{i % PLACES},{int(i < 4)}" for i in range(12)]
    path = tmp_path / "labelled.csv"
    path.write_text("\n".join(["path,label,query", *lines]))
    return path
