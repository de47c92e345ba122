"""SfM-120k: which images, clusters and pairs a split has, and where its images lie."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_benchmarks import make_sfm120k, sfm_cid

from student_trainer.datasets.sfm120k import image_path, open_sfm120k
from student_trainer.errors import InvalidInput

CIDS = [f"{place:032x}" for place in range(4)]


def content_of(**changes: Any) -> dict[str, Any]:
    split = {"cids": CIDS, "cluster": [0, 0, 1, 1], "qidxs": [0, 2], "pidxs": [1, 3], **changes}
    return {"train": split, "val": split}


def write(root: Path, content: Any) -> Path:
    (root / "retrieval-SfM-120k.pkl").write_bytes(pickle.dumps(content, 2))
    return root


def test_an_image_lies_under_its_last_six_characters() -> None:
    assert image_path(Path("/data"), "0123456789abcdef") == Path("/data/ims/ef/cd/ab/0123456789abcdef")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_split_has_images_clusters_and_pairs(tmp_path: Path, protocol: int) -> None:
    root = make_sfm120k(tmp_path, clusters=3, images=4, pickle_protocol=protocol)
    train, val = open_sfm120k(root), open_sfm120k(root, "val")
    assert (len(train.cids), len(val.cids)) == (12, 8)
    assert train.clusters.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert train.cids[5] == sfm_cid(0, 1, 1)
    assert all(path.is_file() for path in (*train.paths, *val.paths))
    assert len(train.pairs) == 9
    assert (train.clusters[train.pairs.queries] == train.clusters[train.pairs.positives]).all()
    assert not set(train.cids) & set(val.cids)


@pytest.mark.parametrize("place", ["", "retrieval-SfM-120k", "train/retrieval-SfM-120k"])
def test_the_set_is_found_in_the_folder_or_below_it(tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    write(tmp_path / place, content_of())
    assert open_sfm120k(tmp_path).root == tmp_path / place


def test_entries_are_labelled_by_cluster(tmp_path: Path) -> None:
    entries = open_sfm120k(make_sfm120k(tmp_path, clusters=2, images=2)).entries()
    assert [(entry.label, entry.split) for entry in entries] == [(label, "train") for label in "0011"]


def test_numpy_arrays_and_scalars_are_read_as_lists_are(tmp_path: Path) -> None:
    split = open_sfm120k(
        write(
            tmp_path,
            content_of(
                cids=np.array(CIDS), cluster=np.array([0.0, 0.0, 1.0, 1.0]), qidxs=[np.int64(0), np.int64(2)]
            ),
        )
    )
    assert (split.cids, split.clusters.tolist()) == (tuple(CIDS), [0, 0, 1, 1])
    assert (split.pairs.queries.tolist(), split.pairs.positives.tolist()) == ([0, 2], [1, 3])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"cids": []}, "'cids' is empty"),
        ({"cids": [*CIDS[:3], "short"]}, "1 names make no path, the first is 'short'"),
        ({"cids": [*CIDS[:3], "../../../etc/passwd"]}, "1 names make no path"),
        ({"cids": [*CIDS[:3], "abcdef.."]}, "1 names make no path"),
        ({"cids": [*CIDS[:3], "abcd..ef"]}, "1 names make no path"),
        ({"cids": [*CIDS[:3], "abc\udcffdef"]}, r"no file can have, the first is 'abc\\udcffdef'"),
        ({"cids": [*CIDS[:3], "a" * 1_001]}, "'cids' holds 1 names that no file can have"),
        ({"cids": [*CIDS[:3], 7]}, "'cids' should be a list of names"),
        ({"cluster": [0, 0, 1]}, "4 images with 3 clusters"),
        ({"pidxs": [1]}, "2 queries with 1 positives"),
        ({"qidxs": [0, 4]}, "'qidxs' names 1 places outside its 4 images, the first is 4"),
        ({"pidxs": [-1, 9]}, "'pidxs' names 2 places outside its 4 images, the first is -1"),
        ({"qidxs": ["a", "b"]}, "'qidxs' should be a list of numbers"),
        ({"cluster": [0.5, 0, 1, 1]}, "'cluster' should hold whole numbers"),
        ({"cluster": [[0], [0], [1], [1]]}, "'cluster' should be a list of numbers"),
        (
            {"cluster": np.zeros((4, 1))},
            r"'cluster' should be a list of numbers, but is an array of shape \(4, 1\)",
        ),
    ],
)
def test_a_set_that_cannot_be_is_refused_with_its_place(
    tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidInput, match=f"pkl, train: .*{complaint}"):
        open_sfm120k(write(tmp_path, content_of(**change)))


@pytest.mark.parametrize(
    ("content", "split", "complaint"),
    [
        ({"train": content_of()["train"]}, "val", "lacks 'val'; it holds: train"),
        ([1], "train", "should be a dictionary with 'train', but is a list of 1"),
        ({"train": 3}, "train", "should be a dictionary with 'cids', but is a int"),
        (content_of(), "test", "has no split 'test'; choose from: train, val"),
    ],
)
def test_a_split_that_is_not_there_is_named(tmp_path: Path, content: Any, split: str, complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        open_sfm120k(write(tmp_path, content), split)


def test_a_pickle_that_names_code_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"train": print})
    with pytest.raises(InvalidInput, match=r"is refused: it names (builtins|__builtin__)\.print"):
        open_sfm120k(tmp_path)


def test_an_image_that_is_listed_twice_is_one_file(tmp_path: Path) -> None:
    split = open_sfm120k(write(tmp_path, content_of(cids=[*CIDS[:3], CIDS[0]])))
    assert split.paths[0] == split.paths[3]
    assert len(set(split.paths)) == 3


@pytest.mark.parametrize("missing", [open_sfm120k, lambda root: open_sfm120k(root, "val")])
def test_a_set_that_is_not_there_is_told_with_what_to_download(
    tmp_path: Path, missing: Callable[[Path], object]
) -> None:
    with pytest.raises(
        InvalidInput, match=r"there is no retrieval-SfM-120k\.pkl in .*91,642 training"
    ) as refusal:
        missing(tmp_path)
    assert "Nothing is downloaded for you" in str(refusal.value)
