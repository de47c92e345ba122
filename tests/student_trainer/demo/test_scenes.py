"""Rendered landmarks: the same seed draws the same photographs, and the splits share no building."""

from pathlib import Path

import numpy as np
import pytest
from full_disk import disk_full_at
from PIL import Image

from student_trainer.datasets.manifest import read_manifest
from student_trainer.demo import scenes
from student_trainer.demo.scenes import Landmark, cast_landmarks, render_landmarks, render_views
from student_trainer.errors import InvalidInput, StorageFailed

SMALL = {"landmarks_basics": 2, "landmarks_train": 3, "landmarks_test": 2, "views": 6, "side_px": 48}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_landmarks(tmp_path_factory.mktemp("scenes") / "set", seed=3, **SMALL)


def test_every_listed_photograph_is_there_in_its_size(rendered: Path) -> None:
    entries = read_manifest(rendered)
    assert len(entries) == 7 * 6
    for entry in entries:
        with Image.open(entry.path) as image:
            assert image.format == "JPEG"
            assert max(image.size) == 48


def test_no_landmark_is_in_two_splits(rendered: Path) -> None:
    splits = {entry.label: {e.split for e in read_manifest(rendered) if e.label == entry.label}
              for entry in read_manifest(rendered)}  # fmt: skip
    assert all(len(found) == 1 for found in splits.values())
    assert {found.pop() for found in splits.values()} == {"basics", "train", "test"}


def test_every_test_landmark_has_queries_and_a_database(rendered: Path) -> None:
    test = read_manifest(rendered, "test")
    for label in {entry.label for entry in test}:
        assert {entry.is_query for entry in test if entry.label == label} == {True, False}
    assert not any(entry.is_query for entry in read_manifest(rendered, "train"))


def test_the_same_seed_draws_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    landmark = Landmark(5, "castle", "train")
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        render_views(landmark, tmp_path / name, 2, 48, seed)
    a, b, c = ((tmp_path / name / landmark.label / "00.jpg").read_bytes() for name in "abc")
    assert a == b != c


def test_a_landmark_does_not_depend_on_the_others() -> None:
    few, many = cast_landmarks({"train": 2}), cast_landmarks({"train": 9})
    assert many[:2] == few


@pytest.mark.parametrize("style", sorted({landmark.style for landmark in cast_landmarks({"train": 64})}))
def test_every_style_gives_a_picture_with_something_in_it(style: str, tmp_path: Path) -> None:
    landmark = Landmark(1, style, "train")
    render_views(landmark, tmp_path, 2, 64, 0)
    for file in (tmp_path / landmark.label).iterdir():
        assert np.asarray(Image.open(file), dtype=float).std() > 5


def test_a_finished_set_is_not_rendered_again(rendered: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in rendered.parent.rglob("*.jpg")}
    assert render_landmarks(rendered.parent, seed=3, **SMALL) == rendered
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_an_interrupted_rendering_leaves_no_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(scenes, "_render_all", interrupted)
    with pytest.raises(KeyboardInterrupt):
        render_landmarks(tmp_path / "set", seed=3, **SMALL)
    assert not list(tmp_path.rglob("manifest.csv"))


def test_a_disk_that_is_full_leaves_no_manifest_nor_a_part_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenes, "_render_all", lambda *_: (tmp_path / "set").mkdir())
    with disk_full_at(1_000), pytest.raises(StorageFailed, match="File too large"):
        render_landmarks(tmp_path / "set", seed=3, **SMALL)
    assert not list((tmp_path / "set").iterdir())


@pytest.mark.parametrize(
    "wrong", [{"landmarks_train": 1}, {"landmarks_test": 0}, {"views": 1}, {"side_px": 8}]
)
def test_a_set_too_small_to_learn_from_or_to_test_with_is_refused(
    tmp_path: Path, wrong: dict[str, int]
) -> None:
    with pytest.raises(InvalidInput, match="at least 2"):
        render_landmarks(tmp_path / "set", seed=0, **{**SMALL, **wrong})


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageFailed, match="cannot be written"):
        render_landmarks(tmp_path / "file" / "set", seed=0, **SMALL)
