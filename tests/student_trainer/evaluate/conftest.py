"""A small labelled folder of drawn images, and run folders with tiny networks."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from shared.checkpoints import save_network
from shared.network import NetworkSpec, build_network
from student_trainer.recipe import Recipe
from student_trainer.run_folder import RunFolder

LABELS = ("arch", "dome", "tower")
VIEWS = 5
ARCH = "mobilenet_v2-320x0.25"


def draw(label: str, view: int) -> Image.Image:
    """A view of a toy building: the label decides shape and colour, the view moves it a little."""
    random = np.random.default_rng(view)
    x, y = (int(value) for value in random.integers(8, 20, 2))
    image = Image.new("RGB", (64, 48), tuple(int(value) for value in random.integers(170, 230, 3)))
    pen = ImageDraw.Draw(image)
    if label == "arch":
        pen.rectangle((x, y, x + 36, y + 24), outline=(150, 40, 30), width=7)
    elif label == "dome":
        pen.ellipse((x, y, x + 30, y + 26), fill=(40, 90, 150))
    else:
        pen.polygon([(x, 44), (x + 8, y - 8), (x + 16, 44)], fill=(60, 120, 50))
    return image


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder with a sub-folder per label, and ``manifest.csv`` in which view 0 of each is a query."""
    root = tmp_path / "photographs"
    rows = []
    for label in LABELS:
        (root / label).mkdir(parents=True)
        for view in range(VIEWS):
            draw(label, view).save(root / label / f"{view}.png")
            rows.append((f"{label}/{view}.png", label, "test", int(view == 0)))
    with (root / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split", "query"), *rows])
    return root


@pytest.fixture
def manifest(photographs: Path) -> Path:
    return photographs / "manifest.csv"


def make_run(root: Path, *, seed: int, objective: str = "rank-mixup") -> RunFolder:
    """A run folder as a training leaves it, with random weights."""
    run = RunFolder.create(root)
    spec = NetworkSpec(ARCH)
    save_network(build_network(spec, seed=seed), run.initial_student)
    save_network(build_network(spec, seed=seed + 1), run.student)
    recipe = Recipe.model_validate({"images": {"longest_side_px": 48}, "objective": {"name": objective}})
    recipe.write(run.recipe)
    return run


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return make_run(tmp_path / "run", seed=0)


@pytest.fixture
def other_run(tmp_path: Path) -> RunFolder:
    return make_run(tmp_path / "other", seed=7, objective="rank")
