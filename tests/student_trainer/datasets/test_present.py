"""Images that a data set lists and that are not there are counted and named."""

from pathlib import Path

import pytest
from made_benchmarks import make_old, make_revisited

from student_trainer.datasets.present import missing_files, require_files, require_images
from student_trainer.datasets.revisited import open_benchmark
from student_trainer.errors import InvalidInput


def test_a_whole_benchmark_passes(tmp_path: Path) -> None:
    require_images(open_benchmark(make_revisited(tmp_path)))
    require_images(open_benchmark(make_old(tmp_path)))


def test_missing_images_of_database_and_queries_are_counted_and_the_first_five_named(tmp_path: Path) -> None:
    folder = make_revisited(tmp_path)
    for path in (folder / "jpg").glob("*_0000*1*.jpg"):
        path.unlink()
    benchmark = open_benchmark(folder)
    gone = [path for path in (*benchmark.image_paths, *benchmark.query_paths) if not path.exists()]
    assert len(gone) == 7
    with pytest.raises(InvalidInput, match="7 of 15 images of roxford5k are missing or empty") as refusal:
        require_images(benchmark)
    message = str(refusal.value)
    assert [str(path) in message for path in gone] == [True] * 5 + [False] * 2
    assert "and 2 more" in message


def test_an_image_of_the_old_protocol_that_also_asks_is_counted_once(tmp_path: Path) -> None:
    folder = make_old(tmp_path)
    (folder / "jpg" / "oxford5k_000000_0.jpg").unlink()
    with pytest.raises(InvalidInput, match="1 of 12 images of oxford5k are missing"):
        require_images(open_benchmark(folder))


def test_empty_files_folders_and_broken_links_are_missing(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"x")
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    looked: list[None] = []
    paths = [tmp_path / name for name in ("empty", "good", "folder", "link", "none")]
    assert missing_files(paths, lambda: looked.append(None)) == [paths[0], *paths[2:]]
    assert len(looked) == 5
    require_files([tmp_path / "good"], "a list")
    with pytest.raises(InvalidInput, match="1 of 1 images of a list are missing or empty"):
        require_files([tmp_path / "empty"], "a list")
