"""The demo end to end, small: the commands, the real service as a process, and what is left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
import typer
from PIL import Image

from student_trainer.cli import app, main
from student_trainer.demo.demo import run_demo
from student_trainer.demo.photographs import check_photographs, labelled_manifest
from student_trainer.demo.settings import DemoSettings, Scenery, begin_or_continue
from student_trainer.demo.teacher_process import create_key, running_teacher
from student_trainer.errors import InvalidInput, ServiceRefused

PROGRAM = Path(sys.executable).parent / "student-trainer"
run_trainer = partial(typer.main.get_command(app).main, standalone_mode=False)
QUICK = ("training.epochs=1", "images.longest_side_px=32", "averaging.epochs=[]")


def small_demo(run: Path, **changes: object) -> DemoSettings:
    settings = {
        "run": run,
        "images": None,
        "manifest": None,
        "queries": 12,
        "seed": 0,
        "teacher_recipe": "demo-teacher",
        "student_recipe": "demo-student",
        "teacher_changes": QUICK,
        "student_changes": QUICK,
        "start_changes": QUICK,
        "scenery": Scenery(landmarks_basics=2, landmarks_train=4, landmarks_test=2, views=6, side_px=40),
    }
    return DemoSettings(**(settings | changes))  # type: ignore[arg-type]


def services_under(folder: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(folder) in word for word in process.info["cmdline"] or ())
        and any("teacher-service" in word for word in process.info["cmdline"])
    ]


@pytest.mark.slow
def test_the_whole_line_runs_spends_exactly_the_budget_and_can_be_run_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = small_demo(tmp_path / "run")
    begin_or_continue(settings, fresh=False)
    first = run_demo(settings, run_trainer)
    assert set(first.models) == {"teacher", "student before", "student", "rank"}
    certificate = json.loads((settings.run / "certificate.json").read_bytes())
    assert (certificate["queries_charged"], certificate["budget"], certificate["images"]) == (12, 12, 12)
    assert "refused: Budget exhausted" in capsys.readouterr().out
    for name in ("report.html", "MODEL_CARD.md", "student.safetensors", "recipe.toml", "metrics.jsonl"):
        assert (settings.run / name).is_file(), name
    assert not services_under(tmp_path)

    assert begin_or_continue(settings, fresh=False)
    again = run_demo(settings, run_trainer)
    assert again.models == first.models
    assert json.loads((settings.run / "certificate.json").read_bytes())["queries_charged"] == 12


@pytest.mark.slow
def test_ctrl_c_ends_the_service_too(tmp_path: Path) -> None:
    small = [word for change in QUICK for word in ("--teacher-set", change)]
    photographs = tmp_path / "photographs"
    for label in range(4):
        (photographs / f"label{label}").mkdir(parents=True)
        for view in range(3):
            colour = (60 * label, 80 * view, 120)
            Image.new("RGB", (40, 30), colour).save(photographs / f"label{label}" / f"{view}.png")
    process = subprocess.Popen(
        [
            *(PROGRAM, "demo", "--run", tmp_path / "run", "--images", photographs, "--queries", "4"),
            *("--weights", "random", *small, "--teacher-set", "student.arch=resnet18-64"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
    )
    deadline_s = time.monotonic() + 120
    while not services_under(tmp_path) and process.poll() is None and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()[1]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 130, errors
    assert not services_under(tmp_path)
    assert "Traceback" not in errors


def test_a_demo_with_other_settings_is_not_continued(tmp_path: Path) -> None:
    begin_or_continue(small_demo(tmp_path / "run"), fresh=False)
    with pytest.raises(InvalidInput, match="other settings"):
        begin_or_continue(small_demo(tmp_path / "run", queries=13), fresh=False)
    assert not begin_or_continue(small_demo(tmp_path / "run", queries=13), fresh=True)


def test_fresh_never_clears_a_folder_that_is_not_a_demos(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not lose me")
    with pytest.raises(InvalidInput, match="holds no demo"):
        begin_or_continue(small_demo(tmp_path), fresh=True)
    assert (tmp_path / "thesis.txt").is_file()


def test_own_photographs_are_divided_so_that_no_label_is_in_both_halves(tmp_path: Path) -> None:
    for label in "abcdef":
        (tmp_path / "photographs" / label).mkdir(parents=True)
        for view in range(2):
            (tmp_path / "photographs" / label / f"{view}.jpg").write_bytes(b"not looked at here")
    (tmp_path / "run").mkdir()
    settings = small_demo(tmp_path / "run", images=tmp_path / "photographs")
    rows = [line.split(",")[1:] for line in labelled_manifest(settings).read_text().splitlines()[1:]]
    train = {label for label, split in rows if split == "train"}
    test = {label for label, split in rows if split == "test"}
    assert len(train) == len(test) == 3
    assert not train & test


def test_photographs_with_too_few_labels_are_refused(tmp_path: Path) -> None:
    (tmp_path / "photographs" / "only").mkdir(parents=True)
    (tmp_path / "photographs" / "only" / "a.jpg").write_bytes(b"")
    with pytest.raises(InvalidInput, match="needs at least 4"):
        labelled_manifest(small_demo(tmp_path, images=tmp_path / "photographs"))


def write_manifest(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(["path,label,split", *rows]))
    return path


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--images", "none"), "There is no folder none"),
        (("--manifest", "none.csv"), "none.csv cannot be read"),
        (("--queries", "801"), "--queries 801, but there are only 800 training images"),
        (("--teacher-recipe", "demo-techer"), "There is no recipe 'demo-techer'"),
        (("--student-set", "training.epoks=3"), "epoks"),
    ],
)
def test_a_wrong_option_leaves_no_run_folder_behind(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["student-trainer", "demo", "--run", "run", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_more_queries_than_own_training_images_are_refused(tmp_path: Path) -> None:
    rows = [f"{split}{n}.jpg,{split}{n % 2},{split}" for split in ("train", "test") for n in range(5)]
    manifest = write_manifest(tmp_path / "m.csv", *rows)
    check_photographs(small_demo(tmp_path / "run", manifest=manifest, queries=5))
    with pytest.raises(InvalidInput, match=r"--queries 6, but there are only 5 training images"):
        check_photographs(small_demo(tmp_path / "run", manifest=manifest, queries=6))


def test_a_divided_manifest_without_labels_is_refused(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "m.csv", "a.jpg,a,train", "b.jpg,,test")
    with pytest.raises(InvalidInput, match=r"1 of 2 images of the manifest .* have no label, the first"):
        check_photographs(small_demo(tmp_path / "run", manifest=manifest, queries=1))


def test_own_photographs_with_several_labels_are_refused(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("path,labels,split\na.jpg,sky;sea,train\nb.jpg,sky,test\n")
    with pytest.raises(InvalidInput, match=r"2 of 2 images have several labels, the first .*a\.jpg"):
        check_photographs(small_demo(tmp_path / "run", manifest=manifest, queries=1))


def test_the_key_is_never_made_in_the_ledger_that_the_user_s_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    monkeypatch.setenv("TEACHER_LEDGER", f"sqlite:///{own / 'ledger.sqlite'}")
    monkeypatch.setenv("TEACHER_DATA_DIR", str(own))
    monkeypatch.setenv("TEACHER_BATCH_SIZE", "no number")
    assert create_key(tmp_path / "demo", "demo", 3).startswith("rtn_")
    assert any((tmp_path / "demo").iterdir())
    assert not own.exists()


def test_a_service_that_does_not_start_is_reported_with_its_last_words(tmp_path: Path) -> None:
    missing = ["--checkpoint", str(tmp_path / "none.safetensors"), "--data-dir", str(tmp_path), "--port", "0"]
    with (
        pytest.raises(ServiceRefused, match=r"did not start: .*none\.safetensors"),
        running_teacher(missing, tmp_path / "log"),
    ):
        pass
