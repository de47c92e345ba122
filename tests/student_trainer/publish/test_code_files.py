"""Files of binary codes: both forms are read back, give the same bytes, and are refused when wrong."""

import contextlib
import json
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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


def beside(folder: Path, **changes: object) -> Path:
    """A pair of files whose document says something else."""
    write_codes(FILE, folder / "codes.bin")
    document = json.loads((folder / "codes.bin.json").read_text())
    (folder / "codes.bin.json").write_text(json.dumps(document | changes))
    return folder / "codes.bin"


@pytest.mark.parametrize(
    "changes",
    [
        {"images": -1},
        {"images": -3, "bytes": -2},
        {"images": True},
        {"images": float("inf")},
        {"images": 3.0},
        {"images": 10**30},
        {"bits": "10"},
        {"bits": None},
        {"bits": float("inf")},
        {"paths": "abc"},
        {"paths": [None, None, None]},
        {"paths": ["a", "b"]},
        {"scales": float("nan")},
    ],
)
def test_a_document_that_says_what_cannot_be_is_refused(changes: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no codes that can be read"):
        read_codes(beside(tmp_path, **changes))


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "3", '"x"', b"\xff\xfe", ""])
def test_a_document_of_another_kind_is_refused(text: str | bytes, tmp_path: Path) -> None:
    write_codes(FILE, tmp_path / "codes.bin")
    (tmp_path / "codes.bin.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidInput, match="holds no codes that can be read"):
        read_codes(tmp_path / "codes.bin")


def archive(folder: Path, *, compression: int = zipfile.ZIP_STORED, **replaced: bytes) -> Path:
    """The numpy form, with other bytes for some of its members."""
    write_codes(FILE, folder / "whole.npz")
    with zipfile.ZipFile(folder / "whole.npz") as whole:
        members = {name.removesuffix(".npy"): whole.read(name) for name in whole.namelist()} | replaced
    with zipfile.ZipFile(folder / "codes.npz", "w", compression) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return folder / "codes.npz"


def array(header: str, content: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + content


@pytest.mark.parametrize(
    "codes",
    [
        array("{'descr': '|u1', 'fortran_order': False, 'shape': (3000000000, 2)}"),
        array("{'descr': '|u1', 'fortran_order': False, 'shape': (-3, -2)}", b"123456"),
        array("{'descr': '|u1', 'fortran_order': False, 'shape': (3, 2)}", b"1"),
        array("{'descr': '|O', 'fortran_order': False, 'shape': (3, 2)}", b"cos\nsystem\n."),
        array("{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2)}", bytes(48)),
        array("{'descr': '|u1', 'fortran_order': False, 'shape': (3, 2"),
        array("(" * 5000),
        b"\x93NUMPY",
        b"",
    ],
)
def test_an_array_that_is_not_what_it_says_is_refused(codes: bytes, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no codes that can be read"):
        read_codes(archive(tmp_path, codes=codes))


@pytest.mark.parametrize(
    "compression",
    [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA],
    ids=["deflate", "bzip2", "lzma"],
)
def test_a_small_file_cannot_claim_much_memory(compression: int, tmp_path: Path) -> None:
    file = archive(
        tmp_path,
        compression=compression,
        codes=array("{'descr': '|u1', 'fortran_order': False, 'shape': (20000000, 2)}", bytes(40_000_000)),
    )
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match="is compressed, as codes are never written"):
            read_codes(file)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_anywhere_is_refused_or_read_and_nothing_else(tmp_path: Path, data: st.DataObject) -> None:
    write_codes(FILE, tmp_path / "codes.npz")
    content = bytearray((tmp_path / "codes.npz").read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=3)):
        content[place] = data.draw(st.integers(0, 255))
    (tmp_path / "codes.npz").write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    with contextlib.suppress(InvalidInput):
        assert read_codes(tmp_path / "codes.npz").codes.shape == CODES.shape


def test_codes_and_paths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="3 codes and 1 paths"):
        CodeFile(CODES, 10, ("a.jpg",))
    with pytest.raises(ValueError, match="hold bits beyond the last of 9"):
        CodeFile(CODES, 9, FILE.paths)
