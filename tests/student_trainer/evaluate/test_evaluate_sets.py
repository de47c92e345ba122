"""``evaluate --dataset`` on public sets of labelled images: what is measured, what does not go with it."""

import json
from pathlib import Path

import pytest
import typer
from made_datasets import make_cifar10, make_cub200, make_nus_wide
from typer.testing import CliRunner

from student_trainer.errors import InvalidInput
from student_trainer.evaluate.commands import evaluate
from student_trainer.run_folder import RunFolder

app = typer.Typer()
app.command()(evaluate)


def call(run: RunFolder, *arguments: object) -> str:
    words = ["--run", run.root, *arguments]
    outcome = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    return outcome.stdout


def test_classes_that_training_never_saw_are_measured_unless_a_split_is_named(
    run: RunFolder, tmp_path: Path
) -> None:
    make_cub200(tmp_path)
    dataset = ("--dataset", "cub200", "--root", tmp_path)
    assert "Each of 12 images ranks all the others (cub200, split test)." in call(run, *dataset)
    other = json.loads(call(run, *dataset, "--split", "train", "--json"))
    assert other["protocol"]["split"] == "train"
    assert {example["label"] for example in other["examples"]} <= {"001.Bird_1", "002.Bird_2", "100.Bird_100"}
    assert (Path(other["images_root"]) / other["examples"][0]["query"]).is_file()


def test_queries_of_a_hashing_set_rank_its_database(run: RunFolder, tmp_path: Path) -> None:
    make_cifar10(tmp_path, images=6)
    text = call(run, "--dataset", "cifar10", "--root", tmp_path)
    assert "10 queries rank 50 database images (cifar10, split test). Relevant means: the same label." in text


def test_images_with_several_labels_are_relevant_by_one_in_common(run: RunFolder, tmp_path: Path) -> None:
    make_nus_wide(tmp_path)
    document = json.loads(call(run, "--dataset", "nus-wide", "--root", tmp_path, "--json"))
    assert document["protocol"]["several_labels"]
    example = next(example for example in document["examples"] if " + " in example["label"])
    assert example["relevant_in_database"] >= 1
    assert "Relevant means: a label in common." in call(run, "--dataset", "nus-wide", "--root", tmp_path)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--dataset cub200", "--dataset cub200: give the folder of data sets with --root DIR"),
        ("--dataset cub20 --root {}", "--dataset cub20: choose from roxford5k, .*Did you mean 'cub200'"),
        ("--dataset cars196 --root {}", r"Cars-196.*Nothing is downloaded for you. Get car_ims\.tgz"),
        ("--dataset cub200 --root {} --split val", "cub200 has no split 'val'; choose from: train, test"),
        (
            "--dataset cub200 --root {} --alpha-qe 2:3",
            "--alpha-qe is for landmark benchmarks: leave it out, or",
        ),
        ("--dataset cub200 --root {} --protocol old", "--protocol is for landmark benchmarks"),
        ("--dataset cub200 --root {} --manifest x.csv", "Give either --manifest FILE, or --dataset NAME"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_next_step(
    run: RunFolder, tmp_path: Path, words: str, complaint: str
) -> None:
    make_cub200(tmp_path)
    with pytest.raises(InvalidInput, match=complaint):
        call(run, *words.format(tmp_path).split())


def test_missing_images_are_counted_and_nothing_is_measured(run: RunFolder, tmp_path: Path) -> None:
    folder = make_cub200(tmp_path)
    gone = sorted((folder / "images" / "101.Bird_101").iterdir())[:2]
    for path in gone:
        path.unlink()
    with pytest.raises(InvalidInput, match="2 of 12 images of cub200, split test, are missing or empty"):
        call(run, "--dataset", "cub200", "--root", tmp_path)
    assert not run.evaluation.exists()
