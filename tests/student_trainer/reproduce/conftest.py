"""Bought images of a few places with their labels, images to measure on, a teacher, and the command."""

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import Outcome, Run
from made_purchases import PLACES, TINY_RECIPE, bought_run, paint

from shared.checkpoints import save_network
from shared.network import NetworkSpec, build_network
from student_trainer.cli import main
from student_trainer.distil.train import train
from student_trainer.run_folder import RunFolder
from student_trainer.trials import making

BOUGHT = 36
LABELLED = 80
"""Images to learn from with labels: those that were bought, and others."""


@dataclass(frozen=True)
class Inputs:
    """What a user would have."""

    root: Path
    run: RunFolder
    manifest: Path
    teacher: Path
    recipe: Path

    def options(self, out: Path) -> tuple[object, ...]:
        """Of every run."""
        return (
            *("--out", out, "--transfer-set", self.run.root, "--recipe", self.recipe),
            *("--manifest", self.manifest, "--split", "test"),
        )


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Small matrices on few cores: more threads only wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inputs]:
    """Made once: no test changes them."""
    root = tmp_path_factory.mktemp("bought")
    run = bought_run(root, BOUGHT)
    for place in range(BOUGHT, LABELLED):
        paint(root / "bought" / f"{place:03}.png", place)
    lines = [f"bought/{place:03}.png,{place % PLACES},0,train" for place in range(LABELLED)]
    for place in range(10):
        paint(root / "test" / f"{place}.png", 500 + place)
        lines.append(f"test/{place}.png,{place % PLACES},{int(place < PLACES)},test")
    (root / "labelled.csv").write_text("\n".join(["path,label,query,split", *lines]))
    (root / "tiny.toml").write_text(TINY_RECIPE.replace("epochs = 2", "epochs = 1").replace("[1, 2]", "[1]"))
    network = build_network(NetworkSpec("mobilenet_v2-320x0.1+8"), seed=9)
    save_network(network, root / "teacher.safetensors")
    yield Inputs(root, run, root / "labelled.csv", root / "teacher.safetensors", root / "tiny.toml")
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def reproduce(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``reproduce("table6", ...)`` runs the verb."""

    def run(*words: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["student-trainer", "reproduce", *map(str, words)])
        with pytest.raises(SystemExit) as exit_:
            main()
        printed = capsys.readouterr()
        return Outcome(int(exit_.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Objective and number of images of every training that is run."""
    seen: list[tuple[str, int]] = []

    def noting(recipe: Any, data: Any, folder: Any) -> Any:
        seen.append((recipe.objective.name, len(data)))
        return train(recipe, data, folder)

    monkeypatch.setattr(making, "train", noting)
    return seen


@pytest.fixture
def own_table(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a table of TOML."""

    def write(text: str) -> Path:
        path = tmp_path / "own.toml"
        path.write_text(text)
        return path

    return write
