"""Several processes end at the weights of one, speak with one voice, and none outlives the others."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shared.checkpoints import load_network, save_network
from shared.network import NetworkSpec, build_network
from student_trainer.distil.backward import Step
from student_trainer.distil.checkpoint import Checkpoint
from student_trainer.distil.data import TrainingData, from_manifest
from student_trainer.distil.launch import together
from student_trainer.distil.processes import ALONE, Processes
from student_trainer.distil.schedule import Moment
from student_trainer.distil.state import TrainingState
from student_trainer.distil.step import take_step
from student_trainer.distil.train import train
from student_trainer.distil.white_box.teacher import WhiteBox
from student_trainer.errors import InvalidInput
from student_trainer.lock import exclusive
from student_trainer.recipe import load
from student_trainer.run_folder import RunFolder

STEPS = 6
"""3 epochs of 18 images in 2 batches."""
SOON_S = 30
"""For two processes to start, train and end; a process that waits for a dead one would wait for hours."""

WORKSHOP = """
import json, os, signal, sys
import torch
torch.set_num_threads(1)
import torch._dynamo, torch.distributed  # the first is what torch.optim imports when it is used
from student_trainer.cli import main
from student_trainer.distil import launch, train

def at_step(step, act):
    take_step = train.take_step
    def acting(state, moment, *args, **kwargs):
        if moment.step == step:
            act()
        return take_step(state, moment, *args, **kwargs)
    train.take_step = acting

def report_writes(event, values):
    if event == "open" and values[2] & (os.O_WRONLY | os.O_RDWR):
        if "/run/" in str(values[0]):
            print("wrote", values[0], file=sys.stderr)

def work(order, rank):
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{order['folder']}/{rank}.{name}", os.O_WRONLY | os.O_CREAT), number)
    os.environ |= order["environment"] | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    arguments = order["arguments"]
    exec(order["prepare"].get(str(rank), ""))
    sys.argv = ["student-trainer", *arguments]
    main()

for line in sys.stdin:
    order, workers = json.loads(line), []
    for rank in range(order["count"]):
        if (pid := os.fork()) == 0:
            work(order, rank)
        workers.append(pid)
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in workers]), flush=True)
"""
"""Forks the processes of one training after another: importing PyTorch takes longer than they do."""


@dataclass(frozen=True)
class Ended:
    """How some processes of one training ended; lists by rank."""

    codes: list[int]
    printed: list[str]
    said: list[str]
    seconds: float


Launch = Callable[..., Ended]


@pytest.fixture
def run(tmp_path: Path, bought: TrainingData, write_transfer_set: Callable[..., Path]) -> RunFolder:
    """A run folder in which everything is bought."""
    folder = RunFolder.create(tmp_path / "run")
    write_transfer_set(bought, folder.transfer_set)
    return folder


@pytest.fixture(scope="module")
def workshop() -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", WORKSHOP],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def launch(
    workshop: "subprocess.Popen[str]", run: RunFolder, tiny_recipe_file: Path, tmp_path: Path
) -> Launch:
    """Runs ``student-trainer train`` in several processes, some of them prepared by a line of code."""

    def launch_processes(
        *arguments: str | Path, count: int = 2, prepare: dict[int, str] | None = None
    ) -> Ended:
        verb = ["train", "--run", run.root, "--recipe", tiny_recipe_file, *arguments]
        order = {
            "folder": str(tmp_path),
            "count": count,
            "prepare": prepare or {},
            "arguments": [str(part) for part in verb],
            "environment": {
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(_free_port()),
                "WORLD_SIZE": str(count),
                "LOCAL_WORLD_SIZE": str(count),
            },
        }
        assert workshop.stdin is not None
        assert workshop.stdout is not None
        started_s = time.monotonic()
        print(json.dumps(order), file=workshop.stdin, flush=True)
        codes = json.loads(workshop.stdout.readline())
        seconds = time.monotonic() - started_s
        out, err = ([(tmp_path / f"{n}.{name}").read_text() for n in range(count)] for name in ("out", "err"))
        return Ended(codes, out, err, seconds)

    return launch_processes


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def distance(one: Path, other: Path) -> float:
    """Between two networks, relative to their size."""
    ours, theirs = (load_network(path).state_dict() for path in (one, other))
    floats = [name for name, value in ours.items() if value.is_floating_point()]
    error = sum(float((ours[name].double() - theirs[name].double()).square().sum()) for name in floats)
    return (error / sum(float(theirs[name].double().square().sum()) for name in floats)) ** 0.5


def events(run: RunFolder) -> list[dict[str, Any]]:
    """The training curve without the time that it took."""
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


GENTLE = "training.learning_rate=1e-5"
"""Where a gradient is nothing but rounding, Adam makes steps of the size of the learning rate from it."""


@pytest.fixture
def one(bought: TrainingData, tiny_recipe_file: Path, tmp_path: Path) -> RunFolder:
    """The same training in one process."""
    folder = RunFolder.create(tmp_path / "one")
    train(load(tiny_recipe_file, [GENTLE]), bought, folder)
    return folder


def check_equal(run: RunFolder, one: RunFolder) -> None:
    """Weights and curve are the same to rounding, which is little beside what was learned."""
    assert distance(run.initial_student, one.initial_student) == 0
    assert distance(run.student, one.student) < 1e-7
    assert distance(one.student, one.initial_student) > 1e-5
    assert len(events(run)) == len(events(one))
    for ours, theirs in zip(events(run), events(one), strict=True):
        assert (ours["event"], ours["step"]) == (theirs["event"], theirs["step"])
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
        assert ours.get("grad_norm", 0) == pytest.approx(theirs.get("grad_norm", 0), rel=1e-3)
    # Before rounding has had any step to grow in.
    assert events(run)[0]["loss"] == events(one)[0]["loss"]
    assert events(run)[0]["grad_norm"] == pytest.approx(events(one)[0]["grad_norm"], rel=1e-6)


class TestEquality:
    def test_two_processes_end_at_the_weights_and_the_curve_of_one_and_the_first_alone_writes(
        self, launch: Launch, run: RunFolder, one: RunFolder
    ) -> None:
        reporting = "sys.addaudithook(report_writes)"
        ended = launch("--set", GENTLE, "--json", prepare={0: reporting, 1: reporting})
        assert ended.codes == [0, 0]
        check_equal(run, one)
        assert json.loads(ended.printed[0])["steps"] == STEPS
        assert f"wrote {run.metrics}" in ended.said[0]
        assert "Training: 54/54 images" in ended.said[0]
        assert (ended.printed[1], ended.said[1]) == ("", "")

    def test_shares_may_be_uneven_and_even_empty(
        self, launch: Launch, run: RunFolder, bought: TrainingData, tiny_recipe_file: Path, tmp_path: Path
    ) -> None:
        # Two shapes make two chunks of a batch, which leaves the third process none.
        manifest = tmp_path / "labels.csv"
        rows = [f"{image.path},place{n % 4}" for n, image in enumerate(bought.images[:17])]
        manifest.write_text("path,label\n" + "\n".join(rows) + "\n")
        changes = ["objective.name=ap", "training.chunk_size=100", GENTLE]
        one = RunFolder.create(tmp_path / "one")
        train(load(tiny_recipe_file, changes), from_manifest(manifest, None), one)
        options = [part for change in changes for part in ("--set", change)]
        ended = launch("--manifest", manifest, *options, count=3)
        assert ended.codes == [0, 0, 0]
        assert {line["images"] for line in events(run) if line["event"] == "step"} == {8, 9}
        check_equal(run, one)

    @pytest.mark.parametrize("objective", ["contrastive", "asym-contrastive+"])
    def test_two_processes_mine_what_one_mines(
        self,
        launch: Launch,
        run: RunFolder,
        bought: TrainingData,
        tiny_recipe_file: Path,
        tmp_path: Path,
        objective: str,
    ) -> None:
        manifest = tmp_path / "labels.csv"
        rows = [f"{image.path},place{n % 4}" for n, image in enumerate(bought.images)]
        manifest.write_text("path,label\n" + "\n".join(rows) + "\n")
        tuples = [f"objective.name={objective}", "objective.negatives=3", "training.batch_size=45"]
        changes = [*tuples, "objective.pool_images=12", GENTLE]
        one = RunFolder.create(tmp_path / "one")
        labelled = replace(bought, labels=np.arange(18) % 4)
        data = from_manifest(manifest, None) if objective == "contrastive" else labelled
        train(load(tiny_recipe_file, changes), data, one)
        ended = launch("--manifest", manifest, *(part for change in changes for part in ("--set", change)))
        assert ended.codes == [0, 0]
        ours, theirs = ([e for e in events(r) if e["event"] == "mining"] for r in (run, one))
        assert len(ours) == len(theirs) == 3
        for mined, expected in zip(ours, theirs, strict=True):
            cosine = pytest.approx(expected["negative_similarity"], abs=1e-6)  # float32 rows
            assert mined == expected | {"negative_similarity": cosine}
        assert distance(run.student, one.student) < 1e-7

    def test_two_processes_see_the_views_and_compare_the_feature_maps_of_one(
        self, launch: Launch, run: RunFolder, bought: TrainingData, tiny_recipe_file: Path, tmp_path: Path
    ) -> None:
        teacher = build_network(NetworkSpec("resnet18-128"), seed=3)
        save_network(teacher, tmp_path / "teacher.safetensors")
        views = ["images.shortest_side_px=32", "images.crop_px=24", "images.flip=true"]
        changes = ["objective.name=hint", "objective.base=regression", *views, GENTLE]
        one = RunFolder.create(tmp_path / "one")
        shown = replace(bought, white_box=WhiteBox.open(tmp_path / "teacher.safetensors"))
        train(load(tiny_recipe_file, changes), shown, one)
        options = [part for change in changes for part in ("--set", change)]
        ended = launch("--teacher-checkpoint", tmp_path / "teacher.safetensors", *options)
        assert ended.codes == [0, 0]
        for ours, theirs in zip(events(run), events(one), strict=True):
            assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
        assert distance(run.student, one.student) < 1e-7
        assert distance(one.student, one.initial_student) > 1e-5
        ours, theirs = (Checkpoint.load(folder.checkpoints) for folder in (run, one))
        for name, weights in theirs.head["weights"].items():
            torch.testing.assert_close(ours.head["weights"][name], weights, rtol=1e-5, atol=1e-6)

    def test_two_processes_continue_what_one_began(
        self, launch: Launch, run: RunFolder, one: RunFolder, bought: TrainingData, tiny_recipe_file: Path
    ) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("student_trainer.distil.train.take_step", stopping_at(4))
            with pytest.raises(ZeroDivisionError):
                train(load(tiny_recipe_file, [GENTLE]), bought, run)
        assert steps_kept(run) == 2
        ended = launch("--set", GENTLE)
        assert ended.codes == [0, 0]
        check_equal(run, one)

    def test_ctrl_c_in_one_process_ends_both_with_130_and_one_process_continues(
        self, launch: Launch, run: RunFolder, one: RunFolder, bought: TrainingData, tiny_recipe_file: Path
    ) -> None:
        interrupt = "at_step(4, lambda: os.kill(os.getpid(), signal.SIGINT))"
        ended = launch("--set", GENTLE, prepare={1: interrupt})
        assert ended.codes == [130, 130]
        assert "run the same command again" in ended.said[1]
        assert "again" not in ended.said[0]
        assert steps_kept(run) == 2
        train(load(tiny_recipe_file, [GENTLE]), bought, run)
        check_equal(run, one)

    def test_torchrun_starts_them(self, run: RunFolder, tiny_recipe_file: Path) -> None:
        verb = ["student-trainer", "train", "--run", run.root, "--recipe", tiny_recipe_file, "--json"]
        once = ["--set", "training.epochs=1", "--set", "averaging.epochs=[]"]
        torchrun = ["torchrun", "--standalone", "--no-python", "--nproc-per-node", "2", "--"]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        printed = subprocess.run(
            [str(part) for part in (*torchrun, *verb, *once)],
            env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            timeout=2 * SOON_S,
            check=True,
        ).stdout
        assert json.loads(printed)["steps"] == 2
        assert run.student.is_file()


class TestEndings:
    @pytest.mark.parametrize("rank", [0, 1])
    def test_when_one_is_killed_the_other_says_so_and_ends(
        self, launch: Launch, run: RunFolder, rank: int
    ) -> None:
        kill = "at_step(4, lambda: os.kill(os.getpid(), signal.SIGKILL))"
        ended = launch("--set", GENTLE, prepare={rank: kill})
        other = 1 - rank
        assert ended.codes[rank] == -signal.SIGKILL
        assert ended.codes[other] == 8
        assert f"Process {other} of 2 waited for the others in vain" in ended.said[other]
        assert ended.seconds < SOON_S
        assert steps_kept(run) == 2

    def test_what_the_first_alone_finds_wrong_it_alone_says(self, launch: Launch, run: RunFolder) -> None:
        with exclusive(run):
            ended = launch()
        assert ended.codes == [2, 2]
        assert ended.said[0].count("Another student-trainer") == 1
        assert ended.said[1] == ""

    def test_processes_with_different_recipes_are_refused_by_one_of_them(
        self, launch: Launch, run: RunFolder
    ) -> None:
        ended = launch(prepare={1: "arguments += ['--set', 'training.seed=1']"})
        assert ended.codes == [2, 2]
        assert "".join(ended.said).count("do not have the same recipe") == 1
        assert not run.recipe.exists()

    def test_batch_statistics_of_chunks_are_refused(
        self, bought: TrainingData, run: RunFolder, tiny_recipe_file: Path
    ) -> None:
        recipe = load(tiny_recipe_file, ["training.batch_norm=per-chunk"])
        with pytest.raises(InvalidInput, match=r"per-chunk.* 2 processes have different chunks"):
            train(recipe, bought, run, processes=Processes(0, 2))

    def test_a_world_without_ranks_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.delenv("RANK", raising=False)
        with pytest.raises(InvalidInput, match=r"WORLD_SIZE is '2'.*torchrun"), together():
            pytest.fail("joined nobody")

    @pytest.mark.parametrize("world_size", [None, "1"])
    def test_one_process_is_alone(self, world_size: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
        if world_size is None:
            monkeypatch.delenv("WORLD_SIZE", raising=False)
        else:
            monkeypatch.setenv("WORLD_SIZE", world_size)
        with together() as processes:
            assert processes == ALONE


class TestShares:
    @given(st.lists(st.integers(1, 1000), max_size=40), st.integers(1, 9))
    def test_each_item_is_one_process_s_and_none_has_much_more_than_another(
        self, costs: list[int], count: int
    ) -> None:
        shares = [Processes(rank, count).share(costs) for rank in range(count)]
        assert sorted(item for share in shares for item in share) == list(range(len(costs)))
        assert all(share == sorted(share) for share in shares)
        loads = [sum(costs[item] for item in share) for share in shares]
        assert max(loads) - min(loads) <= max(costs, default=0)


class TestDevices:
    @pytest.fixture(autouse=True)
    def _two_gpus(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        monkeypatch.setattr(torch.cuda, "set_device", lambda index: None)

    @pytest.mark.parametrize("name", ["auto", "cuda"])
    def test_each_process_takes_the_gpu_of_its_local_rank(self, name: str) -> None:
        assert Processes(3, 4, local_rank=1, local_count=2).device(name) == torch.device("cuda", 1)

    def test_on_the_cpu_all_share_it(self) -> None:
        assert Processes(1, 4, local_rank=1, local_count=4).device("cpu") == torch.device("cpu")

    def test_one_gpu_for_all_is_refused(self) -> None:
        with pytest.raises(InvalidInput, match="names one GPU, and 2 processes"):
            Processes(0, 2, 0, 2).device("cuda:1")

    def test_more_processes_than_gpus_are_refused(self) -> None:
        with pytest.raises(InvalidInput, match=r"3 processes .* need a GPU each, and it has 2"):
            Processes(0, 3, 0, 3).device("auto")


def stopping_at(step: int) -> Callable[..., Step]:
    """A ``take_step`` that fails at this step."""

    def take_or_stop(state: TrainingState, moment: Moment, *args: Any, **options: Any) -> Step:
        if moment.step == step:
            raise ZeroDivisionError
        return take_step(state, moment, *args, **options)

    return take_or_stop


def steps_kept(run: RunFolder) -> int:
    """Of the last checkpoint."""
    checkpoint = Checkpoint.load(run.checkpoints)
    assert checkpoint is not None
    return checkpoint.step
