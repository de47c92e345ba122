"""The whole line on a few real photographs, from ImageNet weights; skipped where the folder is absent."""

import csv
from functools import partial
from itertools import groupby
from pathlib import Path

import pytest
import typer

from student_trainer.cli import app
from student_trainer.demo.demo import run_demo
from student_trainer.demo.settings import DemoSettings, begin_or_continue

LABELS, DATABASE, QUERIES, BOUGHT = 4, 5, 2, 12
QUICK = ("training.epochs=1", "images.longest_side_px=64", "averaging.epochs=[]")


def few(folder: Path, manifest: Path) -> Path:
    """A small part of the real manifest: some labels of each split, a few images of each."""
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = sorted(
            csv.DictReader(file), key=lambda row: (row["split"], row["label"], row["query"], row["path"])
        )
    kept = []
    for _, of_split in groupby(rows, key=lambda row: row["split"]):
        labels = [list(group) for _, group in groupby(of_split, key=lambda row: row["label"])]
        for images in labels[:LABELS]:
            kept += [row for row in images if row["query"] == "0"][:DATABASE]
            kept += [row for row in images if row["query"] == "1"][:QUERIES]
    with manifest.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split", "query"])
        writer.writerows([folder / row["path"], row["label"], row["split"], row["query"]] for row in kept)
    return manifest


@pytest.mark.data
@pytest.mark.slow
def test_the_line_runs_on_photographs_from_imagenet_weights(real_data: Path, tmp_path: Path) -> None:
    weights = (f"student.weights={real_data / 'weights' / 'mobilenet_v2-imagenet.safetensors'}",)
    settings = DemoSettings(
        run=tmp_path / "run",
        images=None,
        manifest=few(real_data / "landmarks", tmp_path / "few.csv"),
        queries=BOUGHT,
        seed=0,
        teacher_recipe="photo-teacher",
        student_recipe="quick-cpu",
        teacher_changes=(*weights, *QUICK),
        student_changes=(*weights, *QUICK),
    )
    begin_or_continue(settings, fresh=False)
    models = run_demo(settings, partial(typer.main.get_command(app).main, standalone_mode=False)).models
    assert [models[name].images_bought for name in ("student", "rank")] == [BOUGHT, BOUGHT]
    # ImageNet features tell these landmarks apart far better than chance, with or without a step of training.
    assert all(scores.map_step > 0.4 for scores in models.values())
