"""Planning: look at every file, name what cannot be bought, and never lose what was."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shared.images import ImageLimits
from shared.protocol import ModelLimits
from student_trainer.acquire.fetch import Outcome
from student_trainer.acquire.plan import Choice, decide, limits_of, take_stock
from student_trainer.acquire.records import EarlierChoice, PlanFacts, PlannedImage
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.datasets.manifest import Entry, scan_folder
from student_trainer.errors import InvalidInput, ServiceRefused, StorageFailed
from student_trainer.lock import exclusive
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
    ("n", "complaint"),
    [
        (5, "6 images are bought or asked for, so a plan for 5 would lose some.*--queries 6 or more"),
        (11, "only 10 distinct readable images"),
        (0, "--queries must be at least 1"),
    ],
)
def test_a_plan_that_would_lose_what_was_bought_is_refused(
    bought: RunFolder, tmp_path: Path, n: int, complaint: str
) -> None:
    before = bought.transfer_set.read_bytes()
    with pytest.raises(InvalidInput, match=complaint):
        plan(bought.root, tmp_path / "photographs", n)
    assert bought.transfer_set.read_bytes() == before


def describe(images: Sequence[PlannedImage]) -> np.ndarray:
    rows = np.stack([np.random.default_rng(int(image.digest[:16], 16)).normal(size=4) for image in images])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("strategy", ["random", "k-center", "cluster", "density"])
def test_another_strategy_keeps_what_is_bought_chooses_the_rest_anew_and_says_so(
    bought: RunFolder, tmp_path: Path, buy: Callable[..., Outcome], strategy: str
) -> None:
    """3 of the 6 chosen images are bought, and 3 are asked for in a request whose fate is not known."""
    first = chosen(bought.root)
    facts = PlanFacts(strategy, 5, "test", network="" if strategy == "random" else "a network")
    inventory = take_stock(scan_folder(tmp_path / "photographs"), ImageLimits())
    choice = decide(bought.root, inventory, 8, facts, describe=describe)
    assert (chosen(bought.root)[:6], len(choice.added)) == (first, 2)
    with TransferSet.open(bought.transfer_set) as transfer_set:
        assert transfer_set.facts.way == facts.way
        assert transfer_set.facts.earlier == (EarlierChoice("random", 0, "", 6),)
    assert buy(bought).charged == 5
    again = decide(bought.root, inventory, 9, facts, describe=describe)
    assert (chosen(bought.root)[:8], len(again.added)) == ([image.digest for image in choice.chosen], 1)
    assert again.facts.earlier == choice.facts.earlier


def test_a_strategy_looks_at_bought_images_where_they_lie_today(bought: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "photographs").rename(tmp_path / "moved")
    inventory = take_stock(scan_folder(tmp_path / "moved"), ImageLimits())

    def look(images: Sequence[PlannedImage]) -> np.ndarray:
        assert len(images) == 10
        assert all(image.path.is_file() for image in images)
        return describe(images)

    facts = PlanFacts("k-center", 0, "test", network="a network")
    assert len(decide(bought.root, inventory, 8, facts, describe=look).added) == 2


def test_what_was_chosen_but_not_bought_makes_way_for_another_strategy(
    tmp_path: Path, planned: Callable[..., RunFolder], buy: Callable[..., Outcome]
) -> None:
    run = planned(queries=3, images=12)
    buy(run)
    plan(run.root, tmp_path / "photographs", 8)
    inventory = take_stock(scan_folder(tmp_path / "photographs"), ImageLimits())
    facts = PlanFacts("k-center", 0, "test", network="a network")
    choice = decide(run.root, inventory, 8, facts, describe=describe)
    assert len(choice.added) == 5
    assert choice.facts.earlier == (EarlierChoice("random", 0, "", 3),)


def write_copy(photograph: Path, copy: Path) -> None:
    """The same picture with a pixel touched up."""
    image = Image.open(photograph)
    image.putpixel((0, 0), (1, 2, 3))
    image.save(copy)


@pytest.fixture
def with_copies(photographs: Callable[[int], Path]) -> Path:
    """8 photographs, and copies of 3 of them as somebody else might have saved them."""
    folder = photographs(8)
    for original in sorted(folder.rglob("*.png"))[:3]:
        write_copy(original, folder / f"copy of {original.name}")
    return folder


def test_near_duplicates_are_counted_and_bought_unless_they_are_to_be_left_out(
    with_copies: Path, tmp_path: Path
) -> None:
    inventory = take_stock(scan_folder(with_copies), ImageLimits())
    told = decide(tmp_path / "told", inventory, 11, FACTS)
    assert (len(told.near_duplicates), told.avoidable, len(told.chosen)) == (3, 3, 11)
    dropping = PlanFacts("random", 0, "test", dropped_near_duplicates=True)
    left_out = decide(tmp_path / "left out", inventory, 8, dropping)
    assert left_out.avoidable == 0
    assert not set(left_out.near_duplicates) & set(left_out.chosen)
    with pytest.raises(InvalidInput, match=r"only 8 distinct.* 3 near-duplicates were left out"):
        decide(tmp_path / "left out", inventory, 9, dropping)


def test_near_duplicates_that_are_paid_for_stay_and_their_copies_are_left_out(
    tmp_path: Path, planned: Callable[..., RunFolder], buy: Callable[..., Outcome]
) -> None:
    run = planned(queries=5)
    buy(run)
    folder, before = tmp_path / "photographs", chosen(run.root)
    for original in sorted(folder.rglob("*.png")):
        write_copy(original, folder / f"copy of {original.name}")
    inventory = take_stock(scan_folder(folder), ImageLimits())
    dropping = PlanFacts("random", 0, "test", dropped_near_duplicates=True)
    choice = decide(run.root, inventory, 5, dropping)
    assert len(choice.near_duplicates) == 5
    assert [image.digest for image in choice.chosen] == before
    with pytest.raises(InvalidInput, match="only 5 distinct"):
        decide(run.root, inventory, 6, dropping)


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
