"""The four verbs as a user runs them: output, refusals and exit codes, through the command's entry point."""

import json
import os
import pty
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from made_benchmarks import make_sfm120k
from nacl.signing import SigningKey
from PIL import Image

from student_trainer.acquire.fetch import Outcome
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.cli import main
from student_trainer.lock import exclusive
from student_trainer.run_folder import RunFolder


@dataclass
class Done:
    """How a command ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


Trainer = Callable[..., Done]
SECRET = "rtn_k1_secret"


@pytest.fixture
def trainer(teacher: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Trainer:
    """A function that calls the command's entry point with arguments, against the test's teacher."""

    def run(*arguments: object, env: Mapping[str, str] = {}) -> Done:
        environment = {"TEACHER_URL": teacher.url, "TEACHER_API_KEY": SECRET, **env}
        with monkeypatch.context() as patch, Path(os.devnull).open() as nothing:
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["student-trainer", *map(str, arguments)])
            patch.setattr(sys, "stdin", nothing)
            with pytest.raises(SystemExit) as exit_:
                main()
        printed = capsys.readouterr()
        return Done(int(exit_.value.code or 0), printed.out, printed.err)

    return run


def result_of(done: Done) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_from_photographs_to_a_verified_certificate(
    trainer: Trainer, teacher: Any, photographs: Callable[[int], Path], tmp_path: Path
) -> None:
    folder, run = photographs(9), tmp_path / "run"
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")

    planned = trainer("plan", "--run", run, "--images", folder, "--queries", 6)
    assert planned.returncode == 0, planned.stderr
    assert "10 files listed, 9 distinct readable images, 0 exact duplicates, 1 skipped" in planned.stdout
    assert f"{folder}/broken.jpg: " in planned.stdout
    assert "6 queries to spend" in planned.stdout
    assert "Key k1 has 1,000 of 1,000 queries left" in planned.stdout
    assert teacher.seen == []

    fetched = trainer("fetch", "--run", run, "--yes", "--json")
    assert result_of(fetched)["charged"] == 6
    assert "This will spend 6 queries of the 1,000" in fetched.stderr
    again = result_of(trainer("fetch", "--run", run, "--yes", "--json"))
    assert (again["charged"], again["bought"], again["complete"]) == (0, 6, True)

    audited = trainer("audit", "--run", run)
    assert audited.returncode == 0, audited.stderr
    assert audited.stdout.startswith("6 of 1,000 queries spent by key k1 for 6 distinct images")
    certificate = run / "certificate.json"
    verified = trainer("verify", certificate, "--public-key", teacher.public_key, "--json")
    assert result_of(verified)["queries_charged"] == 6
    whole = trainer("verify", "--run", run)
    assert "certificate itself: consistent, but anyone could have signed it" in whole.stdout
    named = trainer("verify", certificate, "--transfer-set", run)
    for done in (whole, named):
        assert f"It certifies the descriptors in {run / 'transfer_set.sqlite'}" in done.stdout
    assert SECRET not in run.joinpath("transfer_set.sqlite").read_bytes().decode("latin-1")
    assert SECRET not in "".join(d.stdout + d.stderr for d in (planned, fetched, audited, whole))


def test_a_manifest_is_planned_by_split_and_reported_as_json(
    trainer: Trainer, photographs: Callable[[int], Path], tmp_path: Path
) -> None:
    folder = photographs(6)
    rows = [f"{file},{'train' if i < 4 else 'test'}" for i, file in enumerate(sorted(folder.rglob("*.png")))]
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("\n".join(["path,split", *rows]))
    options = ("--manifest", manifest, "--split", "train", "--queries", 3, "--dry-run", "--json")
    result = result_of(trainer("plan", "--run", tmp_path / "run", *options))
    assert (result["listed"], result["chosen"], result["queries"], result["remaining"]) == (4, 3, 3, 1000)
    assert not (tmp_path / "run").exists()


def test_the_public_training_set_is_planned_by_name_and_read_only_as_far_as_it_is_chosen(
    trainer: Trainer, tmp_path: Path
) -> None:
    root = make_sfm120k(tmp_path)
    options = ("--run", tmp_path / "run", "--sfm120k", tmp_path, "--queries", 5)
    done = trainer("plan", *options)
    assert done.returncode == 0, done.stderr
    assert f"SfM-120k {root} (split train): 24 files listed (19 not opened), 5 distinct" in done.stdout
    assert "Chosen: 5 images (random by file name, seed 0)" in done.stdout
    assert "5/5 files" in done.stderr
    result = result_of(trainer("plan", *options, "--split", "val", "--dry-run", "--json"))
    assert (result["listed"], result["unread"], result["drawn_by"]) == (8, 3, "file name")
    assert result_of(trainer("fetch", "--run", tmp_path / "run", "--yes", "--json"))["charged"] == 5


def test_a_selection_that_looks_at_images_reads_the_whole_training_set(
    trainer: Trainer, tmp_path: Path
) -> None:
    make_sfm120k(tmp_path, clusters=2, images=3)
    options = ("--sfm120k", tmp_path, "--queries", 2, "--selection", "k-center", "--weights", "random")
    recipe = tmp_path / "tiny.toml"
    recipe.write_text('[student]\narch = "mobilenet_v2"\n')
    result = result_of(
        trainer("plan", "--run", tmp_path / "run", *options, "--recipe", recipe, "--dry-run", "--json")
    )
    assert (result["listed"], result["unread"], result["candidates"], result["chosen"]) == (6, 0, 6, 2)


def test_an_image_list_is_planned_and_its_missing_images_are_named(
    trainer: Trainer, photographs: Callable[[int], Path], tmp_path: Path
) -> None:
    files = sorted(photographs(4).rglob("*.png"))
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join([*(str(file.relative_to(tmp_path)) for file in files), "gone.png"]))
    options = ("--image-list", listed, "--queries", 3, "--dry-run", "--json")
    result = result_of(trainer("plan", "--run", tmp_path / "run", *options))
    assert (result["listed"], result["chosen"], result["drawn_by"]) == (5, 3, "digest")
    assert result["skipped"] == {str(tmp_path / "gone.png"): "No such file or directory"}


def test_a_list_of_wrong_paths_is_refused_with_the_first_of_them_and_their_reasons(
    trainer: Trainer, tmp_path: Path
) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(f"{n}.jpg" for n in range(7)))
    done = trainer("plan", "--run", tmp_path / "run", "--image-list", listed, "--queries", 3)
    assert (done.returncode, done.stdout) == (2, "")
    assert "only 0 distinct readable images" in done.stderr
    assert "these cannot be bought: 7\n" in done.stderr
    assert f"  {tmp_path / '4.jpg'}: No such file or directory\n  and 2 more\n" in done.stderr


def test_progress_counts_the_files_that_stand_in_for_others(trainer: Trainer, tmp_path: Path) -> None:
    root = make_sfm120k(tmp_path)
    for file in sorted(path for path in (root / "ims").rglob("*") if path.is_file())[::2]:
        file.write_bytes(b"no image")
    done = trainer("plan", "--run", tmp_path / "run", "--sfm120k", root, "--queries", 5)
    assert done.returncode == 0, done.stderr
    opened, of = re.findall(r"Looking at images: (\d+)/(\d+) files", done.stderr)[-1]
    assert int(opened) == int(of) > 5


def test_a_daily_budget_is_planned_spent_to_its_end_and_continued(
    trainer: Trainer, teacher: Any, photographs: Callable[[int], Path], tmp_path: Path
) -> None:
    run, daily = tmp_path / "run", {"TEACHER_API_KEY": "rtn_k2_secret"}
    key = teacher.add_key("rtn_k2_secret", budget=4, window="day")
    planned = trainer("plan", "--run", run, "--images", photographs(9), "--queries", 9, env=daily)
    assert (
        "Key k2 has 4 of 4 queries left until 2023-11-15 00:00 UTC (its budget is 4/day): "
        "5 of this plan must wait for 2 later days."
    ) in planned.stdout

    for _ in range(2):
        fetched = trainer("fetch", "--run", run, "--yes", env=daily)
        assert fetched.returncode == 3
        assert "Charged 4 queries, 0 delivered again free; 0 left on the key." in fetched.stdout
        key.now_ms += 86_400_000
    assert (
        "1 descriptors are missing, more can be bought from 2023-11-16 00:00 UTC. Run the same command again"
    ) in fetched.stderr
    fetched = trainer("fetch", "--run", run, "--yes", "--json", env=daily)
    assert (result_of(fetched)["complete"], result_of(fetched)["exhausted_until_ms"]) == (True, None)

    audited = trainer("audit", "--run", run, env=daily)
    assert audited.stdout.startswith("9 queries spent by key k2 (budget 4/day) for 9 distinct images")
    verified = result_of(trainer("verify", "--run", run, "--public-key", teacher.public_key, "--json"))
    assert (verified["queries_charged"], verified["budget"], verified["window"]) == (9, 4, "day")


def test_planning_works_without_a_service(
    trainer: Trainer, photographs: Callable[[int], Path], tmp_path: Path
) -> None:
    options = ("--images", photographs(2), "--queries", 2)
    done = trainer("plan", "--run", tmp_path / "run", *options, env={"TEACHER_URL": ""})
    assert done.returncode == 0, done.stderr
    assert "Give --url and --key to see what the key has left" in done.stdout


def test_the_plan_says_what_a_methods_public_pipeline_would_have_asked_for(
    trainer: Trainer, photographs: Callable[[int], Path], tmp_path: Path
) -> None:
    options = ("plan", "--run", tmp_path / "run", "--images", photographs(3), "--queries", 2, "--dry-run")
    done = trainer(*options, "--objective", "rkd")
    assert "64,000 views x 120 epochs = 7,680,000 queries" in done.stdout
    assert "Here: 2, one for each image." in done.stdout
    result = result_of(trainer(*options, "--objective", "rkd", "--json"))["objective"]
    assert (result["public_pipeline"]["queries"], result["queries_here"]) == (7_680_000, 2)
    assert result_of(trainer(*options, "--json"))["objective"] is None
    fails(trainer(*options, "--objective", "rdk"), 2, "Did you mean 'rkd'?")


def test_the_plan_says_when_the_key_cannot_pay(
    trainer: Trainer, teacher: Any, photographs: Callable[[int], Path], tmp_path: Path
) -> None:
    teacher.keys[SECRET].budget = 4
    done = trainer("plan", "--run", tmp_path / "run", "--images", photographs(6), "--queries", 6)
    assert "4 of 4 queries left: 2 too few for this plan" in done.stdout


def test_a_revoked_key_is_told_by_plan_and_stops_fetch_before_anything_is_sent(
    trainer: Trainer, teacher: Any, photographs: Callable[[int], Path], tmp_path: Path
) -> None:
    teacher.keys[SECRET].revoked = True
    options = ("plan", "--run", tmp_path / "run", "--images", photographs(3), "--queries", 3)
    assert "Key k1 was revoked: it buys nothing more" in trainer(*options).stdout
    result = result_of(trainer(*options, "--json"))
    assert (result["revoked"], result["remaining"]) == (True, 0)
    fails(trainer("fetch", "--run", tmp_path / "run", "--yes"), 4, "key k1 was revoked, it buys nothing more")
    assert teacher.seen == []


@pytest.mark.parametrize("answer", [b"n\n", b"y\n", b"\x04"])
def test_spending_needs_a_yes_on_the_terminal(
    command: list[str], teacher: Any, planned: Callable[..., RunFolder], answer: bytes
) -> None:
    run = planned(queries=3)
    outer, inner = pty.openpty()
    environment = {**os.environ, "TEACHER_URL": teacher.url, "TEACHER_API_KEY": SECRET}
    arguments = [*command, "fetch", "--run", str(run.root)]
    process = subprocess.Popen(
        arguments, stdin=inner, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    os.write(outer, answer)
    _, errors = process.communicate(timeout=60)
    os.close(outer)
    os.close(inner)
    assert b"Spend them?" in errors
    assert teacher.keys[SECRET].used == (3 if answer == b"y\n" else 0)
    assert process.returncode == (0 if answer == b"y\n" else 130)
    assert (b"Not agreed to: nothing was spent." in errors) == (answer != b"y\n")
    assert b"Aborted" not in errors


def test_without_a_terminal_and_without_yes_nothing_is_spent(
    trainer: Trainer, teacher: Any, planned: Callable[..., RunFolder]
) -> None:
    done = trainer("fetch", "--run", planned(queries=3).root)
    assert done.returncode == 2
    assert "Spending needs a yes" in done.stderr
    assert teacher.seen == []


def test_a_dry_run_of_fetch_tells_the_cost_and_sends_nothing(
    trainer: Trainer, teacher: Any, planned: Callable[..., RunFolder]
) -> None:
    run = planned(queries=3)
    result = result_of(trainer("fetch", "--run", run.root, "--dry-run", "--json"))
    assert (result["cost"], result["missing"], result["remaining"]) == (3, 3, 1000)
    assert teacher.seen == []


def fails(done: Done, exit_code: int, complaint: str) -> None:
    """The exit code is the documented one, and the message is one line of ours, not a traceback."""
    assert done.returncode == exit_code, done.stderr
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stderr


def test_wrong_input_exits_2(
    trainer: Trainer, photographs: Callable[[int], Path], planned: Callable[..., RunFolder], tmp_path: Path
) -> None:
    folder = photographs(2)
    plan = ("plan", "--run", tmp_path / "new")
    fails(trainer(*plan, "--images", folder, "--queries", 5), 2, "only 2 distinct readable images")
    fails(trainer(*plan, "--queries", 5), 2, "Give one source of images: --images DIR,")
    fails(trainer(*plan, "--sfm120k", tmp_path, "--queries", 5), 2, "there is no retrieval-SfM-120k.pkl in")
    fails(trainer(*plan, "--images", folder, "--split", "train", "--queries", 1), 2, "has no splits")
    fails(trainer(*plan, "--images", tmp_path / "no", "--queries", 5), 2, "There is no folder")
    fails(trainer("fetch", "--run", tmp_path / "no", "--yes"), 2, "There is no run folder")
    run = planned(queries=2)
    fails(trainer("fetch", "--run", run.root, "--yes", env={"TEACHER_URL": ""}), 2, "set TEACHER_URL")
    fails(trainer("fetch", "--run", run.root, "--yes", env={"TEACHER_API_KEY": ""}), 2, "set TEACHER_API_KEY")
    fails(trainer("fetch", "--run", run.root, "--yes", "--url", "ftp://x"), 2, "is not like http://host:8000")
    fails(trainer("audit", "--run", run.root), 2, "holds no descriptors yet")
    fails(trainer("verify"), 2, "Name a certificate")
    fails(trainer("verify", "--run", run.root), 2, "cannot be read")


def test_two_fetches_on_one_run_folder_exit_2(trainer: Trainer, planned: Callable[..., RunFolder]) -> None:
    run = planned(queries=2)
    with exclusive(run):
        fails(trainer("fetch", "--run", run.root, "--yes"), 2, f"(process {os.getpid()}) is at work on")


def test_a_changed_file_exits_2_after_everything_else_was_bought(
    trainer: Trainer, teacher: Any, planned: Callable[..., RunFolder], write_image: Callable[..., str]
) -> None:
    run = planned(queries=4)
    with TransferSet.open(run.transfer_set) as transfer_set:
        changed = transfer_set.chosen()[0]
    write_image(changed.path, seed=999)
    fails(trainer("fetch", "--run", run.root, "--yes"), 2, f"the first {changed.path}")
    assert teacher.keys[SECRET].used == 3


def test_refused_images_exit_2_and_are_named_again_until_the_plan_replaces_them(
    trainer: Trainer, teacher: Any, planned: Callable[..., RunFolder], tmp_path: Path
) -> None:
    run = planned(queries=4, images=6)
    with TransferSet.open(run.transfer_set) as transfer_set:
        bad = transfer_set.chosen()[1]
    teacher.unreadable = {bad.digest}
    for _ in range(2):
        done = trainer("fetch", "--run", run.root, "--yes")
        assert done.returncode == 2, done.stderr
        assert "Complete but for 1 refused: held 3 of 4 planned." in done.stdout
        assert f"{bad.path}: " in done.stdout
    again = trainer("fetch", "--run", run.root, "--yes", "--json")
    assert again.returncode == 2
    document = json.loads(again.stdout)
    assert (list(document["refused"]), document["planned"]) == ([str(bad.path)], 4)
    assert "told invalid_image" in document["refused"][str(bad.path)]

    trainer("plan", "--run", run.root, "--images", tmp_path / "photographs", "--queries", 4)
    result = result_of(trainer("fetch", "--run", run.root, "--yes", "--json"))
    assert (result["bought"], result["planned"], result["refused"]) == (4, 4, {})


TINY_STUDENT = """
[student]
arch = "mobilenet_v2-320x0.1"
weights = "random"

[images]
longest_side_px = 32

[training]
device = "cpu"
"""


@pytest.mark.parametrize("selection", ["k-center", "cluster", "density"])
def test_a_selection_that_looks_spends_nothing_and_is_quick_the_second_time(
    trainer: Trainer, teacher: Any, photographs: Callable[[int], Path], tmp_path: Path, selection: str
) -> None:
    (tmp_path / "tiny.toml").write_text(TINY_STUDENT)
    run, options = tmp_path / "run", ("--recipe", tmp_path / "tiny.toml", "--selection", selection)
    plan = ("plan", "--run", run, "--images", photographs(9), "--queries", 4, *options, "--json")
    dry = result_of(trainer(*plan, "--dry-run"))
    assert not run.exists()
    first = trainer(*plan)
    assert "weights are random" in first.stderr
    described = list((run / "cache").rglob("*.npz"))
    times = [part.stat().st_mtime_ns for part in described]
    again = result_of(trainer(*plan))
    assert times == [part.stat().st_mtime_ns for part in (run / "cache").rglob("*.npz")] != []
    assert {**result_of(first), "dry_run": True} == {**again, "dry_run": True} == dry
    assert (again["strategy"], again["chosen"]) == (selection, 4)
    assert again["network"].startswith("mobilenet_v2-320x0.1-gem (random) at 32 px, ")
    assert teacher.seen == []


def test_near_duplicates_are_named_with_what_leaving_them_out_saves(
    trainer: Trainer, photographs: Callable[[int], Path], tmp_path: Path
) -> None:
    folder = photographs(3)
    touched_up = Image.open(folder / "site0" / "000.png")
    touched_up.putpixel((0, 0), (1, 2, 3))
    touched_up.save(folder / "again.png")
    plan = ("plan", "--run", tmp_path / "run", "--images", folder)
    told = trainer(*plan, "--queries", 4)
    assert "Near-duplicates: 1\n" in told.stdout
    assert "again.png" in told.stdout
    assert "1 queries of this plan go to such images: --drop-near-duplicates spends them" in told.stdout
    left_out = trainer(*plan, "--queries", 3, "--drop-near-duplicates")
    assert "They are left out" in left_out.stdout
    fails(trainer(*plan, "--queries", 4, "--drop-near-duplicates"), 2, "1 near-duplicates were left out")


def test_a_plan_that_nothing_can_fulfil_is_refused_before_any_image_is_opened(
    trainer: Trainer, photographs: Callable[[int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(*_: object) -> None:
        raise AssertionError("an image was opened")

    monkeypatch.setattr("student_trainer.acquire.plan.take_stock", look)
    plan = ("plan", "--run", tmp_path / "new", "--images", photographs(2))
    fails(trainer(*plan, "--queries", 0), 2, "--queries must be at least 1, got 0")
    fails(trainer(*plan, "--queries", 1, "--selection", "best"), 2, "There is no strategy 'best'")


def test_a_budget_too_small_exits_3_and_spends_nothing(
    trainer: Trainer, teacher: Any, planned: Callable[..., RunFolder]
) -> None:
    teacher.add_key("rtn_small_secret", budget=2)
    run = planned(queries=3)
    done = trainer("fetch", "--run", run.root, "--yes", env={"TEACHER_API_KEY": "rtn_small_secret"})
    fails(done, 3, "still needs 3 queries; key k2 has 2 of 2 left. Nothing was spent")
    assert teacher.seen == []


def test_a_service_that_refuses_or_cannot_be_reached_exits_4(
    trainer: Trainer, teacher: Any, planned: Callable[..., RunFolder]
) -> None:
    run = planned(queries=2)
    fetch = ("fetch", "--run", run.root, "--yes", "--patience", "0.2")
    fails(trainer(*fetch, env={"TEACHER_API_KEY": "rtn_wrong"}), 4, "401, invalid_api_key")
    fails(
        trainer(*fetch, "--url", "http://127.0.0.1:9"), 4, "could not be used for 0.2 s; last: ConnectError"
    )
    teacher.script.append(teacher.refusal(403, "invalid_request"))
    fails(trainer(*fetch), 4, "403, invalid_request")


def test_a_changed_teacher_exits_5(trainer: Trainer, teacher: Any, planned: Callable[..., RunFolder]) -> None:
    run = planned(queries=4)
    teacher.script.extend([lambda response: response, teacher.refusal(403, "invalid_request")])
    trainer("fetch", "--run", run.root, "--yes", "--batch", 2, "--concurrency", 1)
    teacher.weights = "second"
    fails(trainer("fetch", "--run", run.root, "--yes"), 5, "The teacher's revision is now")


def test_a_damaged_transfer_set_exits_6(trainer: Trainer, planned: Callable[..., RunFolder]) -> None:
    run = planned(queries=2)
    run.transfer_set.write_bytes(b"no database" * 1000)
    fails(trainer("fetch", "--run", run.root, "--yes"), 6, "is damaged")


def test_a_disk_that_fills_up_exits_6_and_a_rerun_pays_nothing_twice(
    command: list[str], trainer: Trainer, teacher: Any, planned: Callable[..., RunFolder]
) -> None:
    run = planned(queries=40)
    limit = run.transfer_set.stat().st_size + 4096

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    fetch = ("fetch", "--run", str(run.root), "--yes", "--batch", "4", "--concurrency", "1")
    process = subprocess.run(
        [*command, *fetch],
        env={**os.environ, "TEACHER_URL": teacher.url, "TEACHER_API_KEY": SECRET},
        preexec_fn=small_disk,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    fails(Done(process.returncode, "", process.stderr), 6, "What was committed before is safe")
    spent = teacher.keys[SECRET].used
    assert spent < 40
    result = result_of(trainer(*fetch, "--json"))
    assert (result["bought"], result["charged"]) == (40, 40 - spent)
    assert teacher.keys[SECRET].used == 40


def test_an_answer_that_does_not_hold_exits_7(
    trainer: Trainer, teacher: Any, planned: Callable[..., RunFolder]
) -> None:
    def shortened(response: Any) -> Any:
        response.body = bytes(response.body)[:-32]
        response.headers["content-length"] = str(len(response.body))
        return response

    run = planned(queries=2)
    teacher.script.append(shortened)
    fails(trainer("fetch", "--run", run.root, "--yes"), 7, "does not hold and was not stored")


def test_verify_exits_7_for_another_key_another_transfer_set_or_an_edited_certificate(
    trainer: Trainer,
    teacher: Any,
    planned: Callable[..., RunFolder],
    buy: Callable[..., Outcome],
    tmp_path: Path,
) -> None:
    run = planned(queries=2)
    buy(run)
    assert trainer("audit", "--run", run.root).returncode == 0
    other = bytes(SigningKey(b"\x01" * 32).verify_key).hex()
    fails(trainer("verify", run.certificate, "--public-key", other), 7, "The certificate does not hold")
    fails(trainer("verify", run.certificate, "--public-key", "12"), 2, "must be 64 hexadecimal digits")
    assert "from the service at" in trainer("verify", run.certificate, "--url", teacher.url).stdout

    edited = tmp_path / "edited.json"
    text = run.certificate.read_text()
    assert '"queries_charged": 2' in text
    edited.write_text(text.replace('"queries_charged": 2', '"queries_charged": 1'))
    fails(trainer("verify", edited), 7, "It claims queries_charged = 1")
    edited.write_text(text[: len(text) // 2])
    fails(trainer("verify", edited), 7, "Not a certificate")

    with TransferSet.open(run.transfer_set) as transfer_set, transfer_set.transaction():
        transfer_set.connection.execute("DELETE FROM descriptors WHERE rowid = 1")
    fails(trainer("verify", "--run", run.root), 7, "holds, but not for")
