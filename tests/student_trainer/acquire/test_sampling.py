"""Choosing from a public training set: by name, the same for everyone, reading only what is chosen."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_benchmarks import make_sfm120k

from shared.images import ImageLimits
from student_trainer.acquire import plan as planning
from student_trainer.acquire.fetch import Outcome
from student_trainer.acquire.plan import Choice, decide, take_stock
from student_trainer.acquire.records import EarlierChoice, PlanFacts
from student_trainer.acquire.sampling import sample
from student_trainer.acquire.selection.choice import choose
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.datasets.sfm120k import SfmSplit, image_path, open_sfm120k
from student_trainer.errors import InvalidInput
from student_trainer.run_folder import RunFolder


def by_name(seed: int = 0, **changes: Any) -> PlanFacts:
    return PlanFacts("random", seed, "test", drawn_by="file name", **changes)


def draw(cids: tuple[str, ...], seed: int) -> list[str]:
    """The order of the draw, from its definition."""
    return sorted(cids, key=lambda cid: hashlib.sha256(f"{seed}:{cid}".encode()).hexdigest())


def plan(run: Path, split: SfmSplit, n: int, facts: PlanFacts | None = None) -> Choice:
    facts = facts or by_name()
    return decide(run, sample(run, split.entries(), n, facts, limits=ImageLimits()), n, facts)


def names(choice: Choice) -> list[str]:
    return [image.path.name for image in choice.chosen]


@pytest.fixture
def train(tmp_path: Path) -> SfmSplit:
    """24 images."""
    return open_sfm120k(make_sfm120k(tmp_path))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read, in any order."""
    read, found = planning.read_file, list[str]()

    def note(path: Path, limits: ImageLimits) -> bytes:
        found.append(path.name)
        return read(path, limits)

    monkeypatch.setattr(planning, "read_file", note)
    return found


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_choice_is_the_beginning_of_the_draw_by_name_and_nothing_else_is_read(
    tmp_path: Path, train: SfmSplit, opened: list[str], seed: int
) -> None:
    choice = plan(tmp_path / "run", train, 9, by_name(seed))
    assert names(choice) == draw(train.cids, seed)[:9]
    assert sorted(opened) == sorted(draw(train.cids, seed)[:9])


def test_choices_are_nested_and_differ_by_seed(tmp_path: Path, train: SfmSplit) -> None:
    small, large = plan(tmp_path / "small", train, 5), plan(tmp_path / "large", train, 12)
    assert names(large)[:5] == names(small)
    assert names(plan(tmp_path / "other", train, 5, by_name(1))) != names(small)


def test_only_the_images_of_the_choice_need_be_there(tmp_path: Path, train: SfmSplit) -> None:
    for cid in draw(train.cids, 0)[6:]:
        image_path(train.root, cid).unlink()
    assert len(plan(tmp_path / "run", train, 6).chosen) == 6


def test_the_inventory_counts_what_was_not_opened(tmp_path: Path, train: SfmSplit) -> None:
    looked: list[None] = []
    listed: list[int] = []
    inventory = sample(
        tmp_path / "run",
        train.entries(),
        9,
        by_name(),
        limits=ImageLimits(),
        on_listed=listed.append,
        on_looked=lambda: looked.append(None),
    )
    assert (inventory.listed, inventory.unread, len(inventory.candidates), len(looked)) == (24, 15, 9, 9)
    assert sum(listed) == 9


def test_the_next_of_the_draw_takes_the_place_of_a_file_that_cannot_be_bought(
    tmp_path: Path, train: SfmSplit, opened: list[str]
) -> None:
    order = draw(train.cids, 0)
    image_path(train.root, order[1]).unlink()
    image_path(train.root, order[4]).write_bytes(b"no image")
    image_path(train.root, order[5]).write_bytes(image_path(train.root, order[0]).read_bytes())
    facts = by_name()
    inventory = sample(tmp_path / "run", train.entries(), 6, facts, limits=ImageLimits())
    choice = decide(tmp_path / "run", inventory, 6, facts)
    assert names(choice) == [order[0], order[2], order[3], order[6], order[7], order[8]]
    assert {path.name for path in inventory.skipped} == {order[1], order[4]}
    assert {path.name: first.name for path, first in inventory.duplicates.items()} == {order[5]: order[0]}
    assert sorted(opened) == sorted(order[:9])


def test_more_than_there_is_is_refused(tmp_path: Path, train: SfmSplit) -> None:
    with pytest.raises(InvalidInput, match="only 24 distinct readable images"):
        plan(tmp_path / "run", train, 25)
    assert not (tmp_path / "run" / "transfer_set.sqlite").exists()


def test_the_files_that_cannot_be_bought_are_counted_and_named_with_the_refusal(
    tmp_path: Path, train: SfmSplit
) -> None:
    order = draw(train.cids, 0)
    for cid in order:
        image_path(train.root, cid).unlink()
    with pytest.raises(InvalidInput, match="only 0 distinct readable images") as refusal:
        plan(tmp_path / "run", train, 5)
    lines = str(refusal.value).splitlines()
    assert lines[1] == "Of 24 files, these cannot be bought: 24"
    assert lines[2:7] == [f"  {image_path(train.root, cid)}: No such file or directory" for cid in order[:5]]
    assert lines[7:] == ["  and 19 more"]


def test_near_duplicates_that_are_to_be_left_out_are_replaced(tmp_path: Path, train: SfmSplit) -> None:
    from PIL import Image

    order = draw(train.cids, 0)
    with Image.open(image_path(train.root, order[0])) as image:
        image.save(image_path(train.root, order[2]), format="JPEG", quality=70)
    choice = plan(tmp_path / "run", train, 6, by_name(dropped_near_duplicates=True))
    assert len(choice.chosen) == 6
    assert len({order[0], order[2]} & set(names(choice))) == 1


@pytest.fixture
def bought(tmp_path: Path, train: SfmSplit, buy: Callable[..., Outcome]) -> RunFolder:
    """The first 4 of the draw, bought."""
    run = RunFolder(tmp_path / "run")
    plan(run.root, train, 4)
    assert buy(run).charged == 4
    return run


def test_a_bought_choice_grows_along_the_same_draw(
    bought: RunFolder, train: SfmSplit, buy: Callable[..., Outcome]
) -> None:
    choice = plan(bought.root, train, 9)
    assert names(choice) == draw(train.cids, 0)[:9]
    assert (len(choice.added), len(choice.missing), choice.facts.earlier) == (5, 5, ())
    assert buy(bought).charged == 5


def test_another_seed_reads_what_is_paid_for_and_draws_the_rest_anew(
    bought: RunFolder, train: SfmSplit, opened: list[str]
) -> None:
    choice = plan(bought.root, train, 7, by_name(1))
    paid = draw(train.cids, 0)[:4]
    others = [cid for cid in draw(train.cids, 1) if cid not in paid]
    assert names(choice) == [*paid, *others[:3]]
    assert sorted(opened) == sorted([*paid, *others[:3]])
    assert choice.facts.earlier == (EarlierChoice("random by file name", 0, "", 4),)


def test_a_draw_by_digest_is_another_way_than_a_draw_by_name(bought: RunFolder, train: SfmSplit) -> None:
    facts = PlanFacts("random", 0, "test")
    choice = decide(bought.root, take_stock(train.entries(), ImageLimits()), 6, facts)
    assert names(choice)[:4] == draw(train.cids, 0)[:4]
    assert choice.facts.earlier == (EarlierChoice("random by file name", 0, "", 4),)
    with TransferSet.open(bought.transfer_set) as transfer_set:
        assert transfer_set.facts.drawn_by == "digest"


def test_an_image_that_the_teacher_refused_is_replaced_by_the_next(
    tmp_path: Path, train: SfmSplit, buy: Callable[..., Outcome], teacher: Any
) -> None:
    run = RunFolder(tmp_path / "run")
    refused = plan(run.root, train, 4).chosen[1]
    teacher.unreadable = {refused.digest}
    buy(run)
    order = draw(train.cids, 0)
    assert names(plan(run.root, train, 4)) == [order[0], *order[2:5]]


def test_the_set_may_move_and_a_larger_plan_follows_it(
    bought: RunFolder, train: SfmSplit, tmp_path: Path, buy: Callable[..., Outcome]
) -> None:
    moved = tmp_path / "moved"
    train.root.rename(moved)
    plan(bought.root, open_sfm120k(moved), 6)
    assert buy(bought).charged == 2
    with TransferSet.open(bought.transfer_set) as transfer_set:
        assert all(path.is_relative_to(moved) for path in transfer_set.bought().paths)


def test_a_name_that_is_listed_twice_is_one_image(tmp_path: Path, train: SfmSplit) -> None:
    entries = [*train.entries(), *train.entries()]
    inventory = sample(tmp_path / "run", entries, 24, by_name(), limits=ImageLimits())
    assert (inventory.listed, len(inventory.candidates), inventory.duplicates) == (24, 24, {})


def test_choosing_by_name_looks_at_names_alone(train: SfmSplit) -> None:
    candidates = take_stock(train.entries(), ImageLimits()).candidates
    chosen = choose("random", candidates[::-1], 5, 3, drawn_by="file name")
    assert [image.path.name for image in chosen] == draw(train.cids, 3)[:5]
    assert chosen != choose("random", candidates, 5, 3)
