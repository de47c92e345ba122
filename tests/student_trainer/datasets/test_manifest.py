"""The list of photographs: CSV manifests and folders."""

import os
from pathlib import Path

import pytest

from student_trainer.datasets.manifest import Entry, labelled_entries, read_manifest, scan_folder
from student_trainer.errors import InvalidInput


def write(folder: Path, text: str) -> Path:
    path = folder / "manifest.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_keep_their_order_and_relative_paths_count_from_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "b.jpg").touch()
    manifest = write(tmp_path, "path,label,split,query\nb.jpg,Taj,train,0\n/abs/a.jpg,,test,1\n")
    assert read_manifest(manifest) == [
        Entry(tmp_path / "b.jpg", "Taj", "train", False),
        Entry(Path("/abs/a.jpg"), None, "test", True),
    ]


def test_a_path_that_is_not_beside_the_manifest_is_sought_in_images(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").touch()
    manifest = write(tmp_path, "path\na.jpg\nmissing.jpg\n")
    assert [entry.path for entry in read_manifest(manifest)] == [
        tmp_path / "images" / "a.jpg",
        tmp_path / "missing.jpg",
    ]


def test_only_the_rows_of_the_split_are_returned(tmp_path: Path) -> None:
    manifest = write(tmp_path, "path,split\na.jpg,train\nb.jpg,test\nc.jpg,train\n")
    assert [entry.path.name for entry in read_manifest(manifest, "train")] == ["a.jpg", "c.jpg"]


def test_an_unknown_split_is_refused_and_the_known_ones_are_named(tmp_path: Path) -> None:
    manifest = write(tmp_path, "path,split\na.jpg,train\nb.jpg,\n")
    with pytest.raises(InvalidInput, match=r"no images of split 'val'; its splits: \(none\), train"):
        read_manifest(manifest, "val")


def test_a_byte_order_mark_and_further_columns_do_no_harm(tmp_path: Path) -> None:
    manifest = write(tmp_path, "\ufeffpath,width\na.jpg,256\n")
    assert read_manifest(manifest) == [Entry(tmp_path / "a.jpg")]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "column 'path'; its first line holds: nothing"),
        ("file,label\na.jpg,x\n", "column 'path'; its first line holds: file, label"),
        ("path,label\n", "lists no images"),
        ("path,label\na.jpg\n", "line 2: the number of fields"),
        ("path\na.jpg,extra\n", "line 2: the number of fields"),
        ("path,label\nb.jpg,x\n ,y\n", "line 3: the path is empty"),
        ("path,query\na.jpg,maybe\n", "line 2: query is 'maybe'"),
        ("path,label,label\na.jpg,x,y\n", "two columns named 'label'"),
        ("path,label\na\0.jpg,x\n", "line 2: the path holds a zero byte"),
        ('path\n"a.jpg\n', "cannot be read"),
    ],
)
def test_a_malformed_manifest_is_refused_with_its_line(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        read_manifest(write(tmp_path, text))


def test_blanks_around_a_field_mean_nothing_and_a_blank_field_is_an_empty_one(tmp_path: Path) -> None:
    manifest = write(tmp_path, "path,label,split,query\n a.jpg ,Taj , test,1 \nb.jpg, , ,\n")
    assert read_manifest(manifest) == [
        Entry(tmp_path / "a.jpg", "Taj", "test", True),
        Entry(tmp_path / "b.jpg"),
    ]
    several = write(tmp_path, "path,labels\na.jpg, \n")
    assert read_manifest(several)[0].label is None


def test_a_path_may_be_a_query_and_in_the_database_too(tmp_path: Path) -> None:
    manifest = write(tmp_path, "path,label,query\na.jpg,Taj,1\n./a.jpg,Taj,0\n")
    assert [entry.is_query for entry in read_manifest(manifest)] == [True, False]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "path,label\na.jpg,Taj\nb.jpg,x\nx/../a.jpg,Agra\n",
            "line 4: .* label 'Agra' here and 'Taj' in line 2",
        ),
        ("path,split\na.jpg,train\na.jpg,test\n", "line 3: .* split 'test' here and 'train' in line 2"),
    ],
)
def test_one_image_with_two_labels_or_in_two_splits_is_refused(
    tmp_path: Path, text: str, complaint: str
) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        read_manifest(write(tmp_path, text))


def test_a_missing_or_binary_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_manifest(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"path\n\xff\xfe.jpg\n")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_manifest(tmp_path / "binary.csv")


def test_a_folder_is_scanned_in_one_order_and_labelled_by_its_first_sub_folder(tmp_path: Path) -> None:
    for name in ["b/2.jpg", "b/deep/1.jpg", "a/3", "top.png", ".hidden.jpg", ".git/x.jpg"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    entries = scan_folder(tmp_path)
    assert [(entry.path.relative_to(tmp_path).as_posix(), entry.label) for entry in entries] == [
        ("a/3", "a"),
        ("b/2.jpg", "b"),
        ("b/deep/1.jpg", "b"),
        ("top.png", None),
    ]


def test_pipes_are_passed_over_and_broken_links_are_listed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "gone.jpg")
    assert [entry.path.name for entry in scan_folder(tmp_path)] == ["broken.jpg"]


def test_a_missing_or_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="There is no folder"):
        scan_folder(tmp_path / "none")
    with pytest.raises(InvalidInput, match="holds no files"):
        scan_folder(tmp_path)


def test_a_manifest_and_a_folder_give_their_entries_alike(tmp_path: Path) -> None:
    (tmp_path / "Taj").mkdir()
    (tmp_path / "Taj" / "a.jpg").touch()
    assert labelled_entries(tmp_path) == [Entry(tmp_path / "Taj" / "a.jpg", "Taj")]
    manifest = write(tmp_path, "path,label,split\nTaj/a.jpg,Taj,train\nTaj/b.jpg,Taj,test\n")
    assert [entry.split for entry in labelled_entries(manifest)] == ["train", "test"]
    assert labelled_entries(manifest, "train") == [Entry(tmp_path / "Taj" / "a.jpg", "Taj", "train")]


def test_a_folder_has_no_splits(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(
        InvalidInput, match=r"is a folder and has no splits: give a CSV .*, or drop --split\."
    ):
        labelled_entries(tmp_path, "train")


def test_several_labels_stand_in_a_column_of_their_own(tmp_path: Path) -> None:
    manifest = write(tmp_path, "path,labels\na.jpg,sky; sea;sky\nb.jpg,sea\nc.jpg,\nd.jpg,;\n")
    assert [entry.label for entry in read_manifest(manifest)] == [("sky", "sea"), ("sea",), None, None]


def test_an_image_has_a_label_or_labels(tmp_path: Path) -> None:
    manifest = write(tmp_path, "path,label,labels\na.jpg,sky,\nb.jpg,sky,sea;sky\n")
    with pytest.raises(InvalidInput, match="line 3: it has a label and labels; put all"):
        read_manifest(manifest)
