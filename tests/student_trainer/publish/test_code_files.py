"""Files of binary codes: both forms are read back, give the same bytes, and are refused when wrong."""

import json
from pathlib import Path

import numpy as np
import pytest

from student_trainer.errors import InvalidInput, StorageFailed
from student_trainer.publish.code_files import CodeFile, check_name, read_codes, write_codes

CODES = np.array([[255, 128], [0, 64], [7, 192]], np.uint8)
FILE = CodeFile(CODES, 10, ("a.jpg", "b/ü.jpg", "c.jpg"), {"student": "ab" * 32, "scales": ["1.0"]})


@pytest.mark.parametrize("name", ["codes.npz", "codes.bin"])
def test_codes_come_back_with_their_paths_and_their_making(name: str, tmp_path: Path) -> None:
    write_codes(FILE, tmp_path / name)
    found = read_codes(tmp_path / name)
    np.testing.assert_array_equal(found.codes, CODES)
    assert (found.bits, found.paths, found.about) == (FILE.bits, FILE.paths, FILE.about)


@pytest.mark.parametrize("name", ["codes.npz", "codes.bin"])
def test_the_same_codes_give_the_same_bytes(name: str, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    for folder in (tmp_path, tmp_path / "again"):
        write_codes(FILE, folder / name)
    assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_numpy_alone_reads_the_one_form_and_any_program_the_other(tmp_path: Path) -> None:
    for name in ("codes.npz", "codes.bin"):
        write_codes(FILE, tmp_path / name)
    with np.load(tmp_path / "codes.npz", allow_pickle=False) as arrays:
        assert sorted(arrays) == ["about", "codes", "paths"]
        assert arrays["paths"].tolist() == list(FILE.paths)
        assert json.loads(str(arrays["about"]))["bits"] == 10
    assert (tmp_path / "codes.bin").read_bytes() == bytes([255, 128, 0, 64, 7, 192])
    beside = json.loads((tmp_path / "codes.bin.json").read_text())
    assert (beside["format"], beside["images"], beside["bytes"]) == ("ration-codes/1", 3, 2)
    assert beside["paths"] == list(FILE.paths)


@pytest.mark.parametrize("name", ["codes.npy", "codes", "codes.json"])
def test_another_ending_is_refused_with_the_two_forms(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=rf"names {name}: .*NAME\.npz.*NAME\.bin"):
        check_name(tmp_path / name)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="There is no folder"):
        check_name(tmp_path / "none" / "codes.npz")


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "codes.npz").mkdir()
    with pytest.raises(StorageFailed, match=r"codes\.npz cannot be written.*--out"):
        write_codes(FILE, tmp_path / "codes.npz")


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "codes.bin").write_bytes(b"\0"),
        lambda folder: (folder / "codes.bin.json").unlink(),
        lambda folder: (folder / "codes.bin.json").write_text("{}"),
        lambda folder: (folder / "codes.bin.json").write_text(
            (folder / "codes.bin.json").read_text().replace("ration-codes/1", "ration-codes/9")
        ),
        lambda folder: (folder / "codes.bin.json").write_text(
            (folder / "codes.bin.json").read_text().replace('"a.jpg",', "")
        ),
        lambda folder: (folder / "codes.npz").write_bytes(b"PK"),
        lambda folder: np.savez(folder / "codes.npz", codes=CODES),
        lambda folder: (folder / "codes.npz").unlink(),
    ],
)
def test_a_damaged_file_is_refused_by_name(damage: object, tmp_path: Path) -> None:
    for name in ("codes.npz", "codes.bin"):
        write_codes(FILE, tmp_path / name)
    damage(tmp_path)  # type: ignore[operator]
    with pytest.raises(InvalidInput, match="holds no codes that can be read"):
        for name in ("codes.npz", "codes.bin"):
            read_codes(tmp_path / name)


def test_codes_and_paths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="3 codes and 1 paths"):
        CodeFile(CODES, 10, ("a.jpg",))
    with pytest.raises(ValueError, match="hold bits beyond the last of 9"):
        CodeFile(CODES, 9, FILE.paths)
