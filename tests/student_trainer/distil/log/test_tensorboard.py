"""TensorBoard shows what ``metrics.jsonl`` holds, and without it the refusal says what to do."""

import json
import sys
from pathlib import Path

import pytest

from student_trainer.distil.data import TrainingData
from student_trainer.distil.log.metrics import MetricsLog
from student_trainer.distil.train import train
from student_trainer.errors import InvalidInput
from student_trainer.recipe import load
from student_trainer.run_folder import RunFolder

Curve = list[tuple[str, int, float]]


def shown(folder: Path) -> Curve:
    """(name, step, value) of everything that TensorBoard would draw."""
    accumulation = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulation.EventAccumulator(str(folder))
    found.Reload()
    return sorted((tag, e.step, e.value) for tag in found.Tags()["scalars"] for e in found.Scalars(tag))


def logged(metrics: Path) -> Curve:
    """The same from the lines."""
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    return sorted(
        (f"{line['event']}/{name}", line["step"], value)
        for line in lines
        for name, value in line.items()
        if name not in ("event", "step", "epoch") and type(value) in (int, float)
    )


def same(one: Curve, other: Curve) -> bool:
    return [point[:2] for point in one] == [point[:2] for point in other] and all(
        ours[2] == pytest.approx(theirs[2], rel=1e-6) for ours, theirs in zip(one, other, strict=True)
    )


def test_it_shows_the_numbers_of_the_metrics_and_no_others(
    many: TrainingData, tiny_recipe_file: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    run = RunFolder.create(tmp_path / "run")
    recipe = load(tiny_recipe_file, ["validation.share=0.5", "objective.tau=auto"])
    train(recipe, many, run, tensorboard=True)
    curve = shown(run.tensorboard)
    assert same(curve, logged(run.metrics))
    names = {name for name, _, _ in curve}
    assert {"step/loss", "step/grad_norm", "epoch/loss", "validation/overlap@10", "student/AP"} <= names
    assert "threshold/tau" in names


def test_a_training_that_was_begun_without_it_shows_its_whole_curve(
    bought: TrainingData, tiny_recipe_file: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    run = RunFolder.create(tmp_path / "run")
    train(load(tiny_recipe_file), bought, run)
    assert not run.tensorboard.exists()
    assert train(load(tiny_recipe_file), bought, run, tensorboard=True).already_finished
    assert same(shown(run.tensorboard), logged(run.metrics))
    train(load(tiny_recipe_file), bought, run, restart=True)
    assert not run.tensorboard.exists()


def test_what_a_kill_undid_is_not_shown(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    metrics, folder = tmp_path / "metrics.jsonl", tmp_path / "board"
    with MetricsLog(metrics, 0, folder) as log:
        for step in (1, 2, 3):
            log.write("step", {"step": step, "loss": 1.0 / step})
    with MetricsLog(metrics, 2, folder) as log:
        log.write("step", {"step": 3, "loss": 9.0, "averaged": True, "why": "words", "AP": None})
    assert shown(folder) == [("step/loss", 1, 1.0), ("step/loss", 2, 0.5), ("step/loss", 3, 9.0)]


def test_without_tensorboard_it_is_refused_before_anything_is_written(
    bought: TrainingData, tiny_recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # what an import of a missing module meets
    run = RunFolder.create(tmp_path / "run")
    with pytest.raises(
        InvalidInput, match=r"pip install 'ration\[tensorboard\]', or leave --tensorboard out"
    ):
        train(load(tiny_recipe_file), bought, run, tensorboard=True)
    assert list(run.root.iterdir()) == []
