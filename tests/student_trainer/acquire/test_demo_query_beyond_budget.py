"""The demo's question beyond the budget, put to the teacher of these tests."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from student_trainer.acquire.client import Access
from student_trainer.acquire.fetch import Outcome
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.demo.demo import ask_for_one_more
from student_trainer.errors import VerificationFailed
from student_trainer.run_folder import RunFolder

SECRET = "rtn_k2_secret"


@pytest.fixture
def spent(teacher: Any, planned: Callable[..., RunFolder], buy: Callable[..., Outcome]) -> RunFolder:
    """3 images bought with a key for 3."""
    teacher.add_key(SECRET, budget=3)
    run = planned(queries=3)
    buy(run, api_key=SECRET)
    return run


@pytest.fixture
def manifest(spent: RunFolder, tmp_path: Path, write_image: Callable[..., str]) -> Path:
    """Test images: a copy of a bought one, a broken one, a new one."""
    with TransferSet.open(spent.transfer_set) as transfer_set:
        shutil.copy(transfer_set.bought().paths[0], tmp_path / "copy.png")
    write_image(tmp_path / "new.png", seed=77)
    whole = (tmp_path / "new.png").read_bytes()
    (tmp_path / "broken.png").write_bytes(whole[: len(whole) // 2])
    path = tmp_path / "manifest.csv"
    path.write_text("path,split\ncopy.png,test\nbroken.png,test\nnew.png,test\n")
    return path


def test_the_first_readable_image_whose_bytes_are_new_is_asked_for_and_refused(
    teacher: Any, spent: RunFolder, manifest: Path, write_image: Callable[..., str], tmp_path: Path
) -> None:
    words = ask_for_one_more(spent, manifest, Access(teacher.url, SECRET))
    assert words.startswith("refused: ")
    assert "told insufficient_quota" in words
    assert teacher.seen[-1].images == [write_image(tmp_path / "same.png", seed=77)]
    assert teacher.seen[-1].media_types == ["image/png"]


def test_nothing_is_asked_while_queries_are_left(teacher: Any, spent: RunFolder, manifest: Path) -> None:
    teacher.keys[SECRET].grant(2)
    before = len(teacher.seen)
    words = ask_for_one_more(spent, manifest, Access(teacher.url, SECRET))
    assert words == "Not asked: the teacher refused planned images, so the key has 2 queries left."
    assert len(teacher.seen) == before


def test_nothing_is_asked_without_a_new_image(teacher: Any, spent: RunFolder, manifest: Path) -> None:
    manifest.write_text("path,split\ncopy.png,test\nbroken.png,test\n")
    words = ask_for_one_more(spent, manifest, Access(teacher.url, SECRET))
    assert words == "Not asked: no test image that can be read is new to the key."


def test_a_service_that_delivers_beyond_the_budget_is_found_out(
    teacher: Any, spent: RunFolder, manifest: Path
) -> None:
    # The account shows nothing left, yet the teacher answers.
    teacher.on_request = lambda: teacher.keys[SECRET].grant(1)
    with pytest.raises(VerificationFailed, match="beyond the budget"):
        ask_for_one_more(spent, manifest, Access(teacher.url, SECRET))
