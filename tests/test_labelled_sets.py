"""Public sets of labelled images by their names, from plan to evaluation, with a service in a process."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from command_line import Trainer, json_trainer
from made_datasets import make_cars196, make_cifar10, make_cub200, make_nus_wide, make_online_products

from shared.checkpoints import save_network
from shared.network import NetworkSpec, build_network
from student_trainer.datasets.labelled.catalogue import LABELLED
from student_trainer.demo.teacher_process import create_key, running_teacher

ARCH = "mobilenet_v2-320x0.25"
QUERIES = 10
SETTINGS = (
    *(f"student.arch={ARCH}", "student.weights=random", "images.longest_side_px=48", "training.epochs=1"),
    *("averaging.epochs=[1]", "training.batch_size=10", "training.learning_rate=1e-4"),
)
TINY = tuple(part for setting in SETTINGS for part in ("--set", setting))


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Trainer:
    return json_trainer(monkeypatch, capsys)


@dataclass(frozen=True)
class Shop:
    """A running service, and how to buy there."""

    address: str
    checkpoint: Path
    key: str


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A service with a small network, and a key that pays for every set once."""
    folder = tmp_path_factory.mktemp("service")
    save_network(build_network(NetworkSpec(ARCH), seed=0), folder / "teacher.safetensors")
    serve = ("--checkpoint", str(folder / "teacher.safetensors"), "--image-size", "48", "--port", "0")
    with running_teacher((*serve, "--data-dir", str(folder)), folder / "service.log") as running:
        key = create_key(folder, "labelled sets", QUERIES * len(LABELLED))
        yield Shop(running.address, folder / "teacher.safetensors", key)


@pytest.mark.parametrize(
    ("name", "make", "objective", "labels", "images", "queries", "database"),
    [
        ("cub200", make_cub200, "lmt-absolute", True, 12, 12, 12),
        ("cars196", make_cars196, "regression", False, 12, 12, 12),
        ("online-products", make_online_products, "rkd", False, 12, 12, 12),
        ("cifar10", make_cifar10, "mse", False, 60, 10, 110),
        ("nus-wide", make_nus_wide, "relative", False, 14, 21, 14),
    ],
)
def test_a_set_is_planned_bought_trained_on_and_measured_by_its_name(
    shop: Shop,
    trainer: Trainer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    make: Callable[[Path], Path],
    objective: str,
    labels: bool,
    images: int,
    queries: int,
    database: int,
) -> None:
    make(tmp_path)
    run, dataset = tmp_path / "run", ("--dataset", name, "--root", tmp_path)
    monkeypatch.setenv("TEACHER_API_KEY", shop.key)
    planned = trainer("plan", "--run", run, *dataset, "--queries", QUERIES, "--url", shop.address)
    assert (planned["listed"], planned["chosen"]) == (images, QUERIES)
    trainer("fetch", "--run", run, "--url", shop.address, "--yes")
    trained = trainer("train", "--run", run, "--objective", objective, *(dataset if labels else ()), *TINY)
    assert trained["images"] == QUERIES
    measured = trainer("evaluate", "--run", run, *dataset, "--teacher", shop.checkpoint)
    assert {"teacher", "student"} <= measured["models"].keys()
    protocol = measured["protocol"]
    assert (protocol["manifest"], protocol["split"]) == (name, "test")
    assert protocol["queries"] + protocol["queries_without_positives"] == queries
    assert protocol["database"] == database
    assert protocol["several_labels"] is (name == "nus-wide")
    assert 0 < measured["models"]["teacher"]["map_step"] <= 1


def test_images_with_several_labels_train_hashing_without_a_teacher(trainer: Trainer, tmp_path: Path) -> None:
    make_nus_wide(tmp_path)
    dataset = ("--dataset", "nus-wide", "--root", tmp_path)
    trained = trainer("train", "--run", tmp_path / "run", "--objective", "dch", *dataset, *TINY)
    assert trained["images"] == 14
    measured = trainer("evaluate", "--run", tmp_path / "run", *dataset)
    assert measured["protocol"]["several_labels"]
