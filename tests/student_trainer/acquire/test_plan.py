"""Planning: look at every file, name what cannot be bought, and never lose what was."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from shared.images import ImageLimits
from shared.protocol import ModelLimits
from student_trainer.acquire.fetch import Outcome
from student_trainer.acquire.lock import exclusive
from student_trainer.acquire.manifest import Entry, scan_folder
from student_trainer.acquire.plan import Choice, decide, limits_of, take_stock
from student_trainer.acquire.records import PlanFacts
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.errors import InvalidInput, ServiceRefused, StorageFailed
from student_trainer.run_folder import RunFolder

FACTS = PlanFacts("random", 0, "test")


def plan(run: Path, folder: Path, n: int, seed: int = 0, **options: Any) -> Choice:
    inventory = take_stock(scan_folder(folder), ImageLimits())
    return decide(run, inventory, n, PlanFacts("random", seed, "test"), **options)


def chosen(run: Path) -> list[str]:
    with TransferSet.open(RunFolder(run).transfer_set) as transfer_set:
        return [image.digest for image in transfer_set.chosen()]


def test_unreadable_files_are_named_with_the_reason_and_set_aside(
    tmp_path: Path, photographs: Callable[[int], Path]
) -> None:
    folder = photographs(4)
    whole = (folder / "site0" / "000.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").touch()
    (folder / "notes.txt").write_text("no image")
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    Image.new("RGB", (4, 4)).save(folder / "old.gif")
    inventory = take_stock(scan_folder(folder), ImageLimits())
    assert len(inventory.candidates) == 4
    reasons = {path.name: reason for path, reason in inventory.skipped.items()}
    assert set(reasons) == {"cut.png", "empty.jpg", "notes.txt", "gone.jpg", "old.gif"}
    assert "truncated" in reasons["cut.png"]
    assert "empty" in reasons["empty.jpg"]
    assert "Not an image" in reasons["notes.txt"]
    assert reasons["gone.jpg"] == "No such file or directory"
    assert "GIF is not accepted" in reasons["old.gif"]


def test_files_over_the_limits_of_the_service_are_set_aside(
    tmp_path: Path, write_image: Callable[..., str]
) -> None:
    write_image(tmp_path / "wide.png", seed=1, size=(100, 100))
    write_image(tmp_path / "small.png", seed=2, size=(8, 8))
    limits = limits_of(
        ModelLimits(
            max_images_per_request=1,
            max_image_bytes=10_000,
            max_request_bytes=10_000,
            max_image_pixels=5_000,
            formats=["PNG"],
        )
    )
    inventory = take_stock(scan_folder(tmp_path), limits)
    assert [image.path.name for image in inventory.candidates] == ["small.png"]
    assert "at most 10,000 are accepted" in inventory.skipped[tmp_path / "wide.png"]


def test_limits_that_cannot_be_kept_here_fall_back_to_what_can() -> None:
    limits = limits_of(
        ModelLimits(
            max_images_per_request=1,
            max_image_bytes=10,
            max_request_bytes=10,
            max_image_pixels=10**12,
            formats=["TIFF", "PNG"],
        )
    )
    assert limits.formats == ("PNG",)
    assert limits.max_pixels < 10**9


def test_exact_duplicates_are_found_by_their_bytes_and_only_one_is_a_candidate(
    photographs: Callable[[int], Path],
) -> None:
    folder = photographs(3)
    shutil.copy(folder / "site0" / "000.png", folder / "site2" / "again.png")
    inventory = take_stock(scan_folder(folder), ImageLimits())
    assert len(inventory.candidates) == 3
    assert inventory.duplicates == {folder / "site2" / "again.png": folder / "site0" / "000.png"}


def test_a_file_listed_twice_is_one_image_and_no_duplicate(photographs: Callable[[int], Path]) -> None:
    entry = scan_folder(photographs(1))[0]
    inventory = take_stock([entry, entry], ImageLimits())
    assert (len(inventory.candidates), inventory.duplicates) == (1, {})


def test_a_name_that_is_not_utf8_is_set_aside(tmp_path: Path, write_image: Callable[..., str]) -> None:
    write_image(tmp_path / "good.png", seed=1)
    bad = Path(str(tmp_path) + "/bad\udcff.png")
    shutil.copy(tmp_path / "good.png", bad)
    inventory = take_stock([Entry(bad)], ImageLimits())
    assert inventory.skipped == {bad: "its name is not UTF-8"}


def test_the_plan_does_not_depend_on_where_and_in_which_order_the_files_lie(
    tmp_path: Path, photographs: Callable[[int], Path]
) -> None:
    folder = photographs(12)
    plan(tmp_path / "one", folder, 5)
    for index, file in enumerate(sorted(folder.rglob("*.png"), reverse=True)):
        (tmp_path / "moved").mkdir(exist_ok=True)
        shutil.move(file, tmp_path / "moved" / f"{index:03}.png")
    plan(tmp_path / "two", tmp_path / "moved", 5)
    assert chosen(tmp_path / "one") == chosen(tmp_path / "two")


def test_before_anything_is_bought_a_plan_may_be_made_anew(
    tmp_path: Path, photographs: Callable[[int], Path]
) -> None:
    folder = photographs(10)
    plan(tmp_path / "run", folder, 8, seed=1)
    first = chosen(tmp_path / "run")
    plan(tmp_path / "run", folder, 3, seed=2)
    assert len(chosen(tmp_path / "run")) == 3
    assert first[:3] != chosen(tmp_path / "run")


def test_a_dry_run_writes_nothing(tmp_path: Path, photographs: Callable[[int], Path]) -> None:
    choice = plan(tmp_path / "run", photographs(5), 3, dry_run=True)
    assert (len(choice.chosen), len(choice.missing)) == (3, 3)
    assert not (tmp_path / "run").exists()


@pytest.fixture
def bought(planned: Callable[..., RunFolder], buy: Callable[..., Outcome], teacher: Any) -> RunFolder:
    """10 photographs, 6 chosen, 3 of them bought."""
    run = planned(queries=6, images=10)
    teacher.script.extend([lambda response: response, teacher.refusal(418, "invalid_request")])
    with pytest.raises(ServiceRefused):
        buy(run, batch=3, concurrency=1)
    return run


def test_a_bought_plan_grows_and_keeps_its_choice_its_order_and_its_descriptors(
    bought: RunFolder, tmp_path: Path, buy: Callable[..., Outcome]
) -> None:
    before = chosen(bought.root)
    choice = plan(bought.root, tmp_path / "photographs", 9)
    assert chosen(bought.root)[:6] == before
    assert (len(choice.chosen), len(choice.added), len(choice.missing)) == (9, 3, 6)
    assert buy(bought).charged == 6
    plan(tmp_path / "fresh", tmp_path / "photographs", 9)
    assert chosen(tmp_path / "fresh") == chosen(bought.root)


def test_a_bought_plan_shrinks_by_the_last_that_are_not_paid_for_and_grows_to_the_same_again(
    tmp_path: Path, planned: Callable[..., RunFolder], buy: Callable[..., Outcome], teacher: Any
) -> None:
    """Of 6 planned images 2 are bought, 2 are asked for and 2 are free."""
    run = planned(queries=6, images=10)
    teacher.script.extend([lambda response: response, teacher.refusal(418, "invalid_request")])
    with pytest.raises(ServiceRefused):
        buy(run, batch=2, concurrency=1)
    before = chosen(run.root)
    for n in (5, 4):
        choice = plan(run.root, tmp_path / "photographs", n)
        assert (len(choice.chosen), len(choice.added)) == (n, 0)
        assert chosen(run.root) == before[:n]
    with pytest.raises(InvalidInput, match="4 images are bought or asked for, so a plan for 3 would lose"):
        plan(run.root, tmp_path / "photographs", 3)
    assert buy(run).charged == 2
    plan(run.root, tmp_path / "photographs", 6)
    assert chosen(run.root) == before


@pytest.mark.parametrize(
    ("n", "seed", "complaint"),
    [
        (5, 0, "6 images are bought or asked for, so a plan for 5 would lose some.*--queries 6 or more"),
        (9, 1, "bought for the choice 'random' with seed 0; 'random' with seed 1 would not keep them"),
        (11, 0, "only 10 distinct readable images"),
        (0, 0, "--queries must be at least 1"),
    ],
)
def test_a_plan_that_would_lose_what_was_bought_is_refused(
    bought: RunFolder, tmp_path: Path, n: int, seed: int, complaint: str
) -> None:
    before = bought.transfer_set.read_bytes()
    with pytest.raises(InvalidInput, match=complaint):
        plan(bought.root, tmp_path / "photographs", n, seed)
    assert bought.transfer_set.read_bytes() == before


def test_a_plan_from_a_folder_without_the_bought_images_is_refused(
    bought: RunFolder, tmp_path: Path, write_image: Callable[..., str]
) -> None:
    for index in range(20):
        write_image(tmp_path / "other" / f"{index}.png", seed=1000 + index)
    with pytest.raises(InvalidInput, match="are not among the files listed now"):
        plan(bought.root, tmp_path / "other", 8)


def test_planning_again_replaces_a_vanished_image_that_was_not_bought(
    tmp_path: Path, planned: Callable[..., RunFolder], buy: Callable[..., Outcome], teacher: Any
) -> None:
    run = planned(queries=4, images=6)
    teacher.script.extend([lambda response: response, teacher.refusal(418, "invalid_request")])
    with pytest.raises(ServiceRefused):
        buy(run, batch=1, concurrency=1)
    with TransferSet.open(run.transfer_set) as transfer_set:
        gone = transfer_set.chosen()[-1]
    gone.path.unlink()
    choice = plan(run.root, tmp_path / "photographs", 4)
    assert (len(choice.chosen), len(choice.added)) == (4, 1)
    assert gone.digest not in chosen(run.root)


def test_planning_again_follows_files_that_moved(
    bought: RunFolder, tmp_path: Path, buy: Callable[..., Outcome]
) -> None:
    (tmp_path / "photographs").rename(tmp_path / "moved")
    plan(bought.root, tmp_path / "moved", 6)
    outcome = buy(bought)
    assert outcome.changed == {}
    with TransferSet.open(bought.transfer_set) as transfer_set:
        assert all(path.is_file() for path in transfer_set.bought().paths)


def test_planning_again_replaces_an_image_that_the_teacher_refused(
    tmp_path: Path, planned: Callable[..., RunFolder], buy: Callable[..., Outcome], teacher: Any
) -> None:
    run = planned(queries=4, images=6)
    refused = chosen(run.root)[1]
    teacher.unreadable = {refused}
    buy(run)
    choice = plan(run.root, tmp_path / "photographs", 4)
    assert (len(choice.chosen), len(choice.added)) == (4, 1)
    assert refused not in chosen(run.root)


def test_a_run_folder_in_use_is_not_planned_into(bought: RunFolder, tmp_path: Path) -> None:
    with exclusive(bought), pytest.raises(InvalidInput, match=r"Another student-trainer \(process \d+\)"):
        plan(bought.root, tmp_path / "photographs", 9)


def test_a_run_folder_that_cannot_be_made_is_a_storage_error(
    tmp_path: Path, photographs: Callable[[int], Path]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageFailed, match="cannot be made"):
        plan(tmp_path / "file" / "run", photographs(2), 1)
