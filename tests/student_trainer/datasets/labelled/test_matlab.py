"""MATLAB's files: what scipy writes and reads is read here too, in bounded memory, and damage is refused."""

import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from student_trainer.datasets.labelled.matlab import MatlabBounds, read_matlab
from student_trainer.errors import InvalidInput

TYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def header(version: bytes = b"\x00\x01", mark: bytes = b"IM") -> bytes:
    return b"MATLAB 5.0 MAT-file".ljust(124) + version + mark


def text_matrix(name: bytes, content: bytes) -> bytes:
    return element(
        14,
        element(6, struct.pack("<II", 4, 0))
        + element(5, struct.pack("<ii", 1, len(content)))
        + element(1, name)
        + element(16, content),
    )


def plain(value: Any) -> Any:
    """What scipy read, in the form that we give."""
    if isinstance(value, np.ndarray) and value.dtype.names:
        return [{name: plain(record[name]) for name in value.dtype.names} for record in value.ravel("F")]
    if isinstance(value, np.ndarray) and value.dtype == object:
        return [plain(part) for part in value.ravel("F")]
    if isinstance(value, np.ndarray) and value.dtype.kind == "U":
        return "".join(value.ravel())
    return value.ravel("F").tolist()


def ours(value: Any) -> Any:
    if isinstance(value, list):
        return [ours(part) for part in value]
    if isinstance(value, dict):
        return {name: ours(part) for name, part in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("compressed", [False, True])
def test_structs_cells_text_and_numbers_are_read_as_scipy_does(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "file.mat"
    records = np.array(
        [[(1, "short"), (np.arange(300.0), "a longer name")]], dtype=[("class", object), ("name", object)]
    )
    cells = np.array([["one", np.array([[1, 2], [3, 4]]), "three"]], dtype=object)
    numbers = {f"of_{kind}": np.arange(5).astype(kind) for kind in TYPES}
    savemat(path, {"records": records, "cells": cells, "text": "words", **numbers}, do_compression=compressed)
    names = ["records", "cells", "text", *numbers]
    found, expected = read_matlab(path, names), loadmat(path)
    assert {name: ours(found[name]) for name in names} == {name: plain(expected[name]) for name in names}


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"wanted": 1, "complex": np.array([1j]), "other": "x"})
    assert list(read_matlab(tmp_path / "a.mat", ["wanted", "absent"])) == ["wanted"]
    with pytest.raises(InvalidInput, match="is refused: it holds a value of MATLAB's class 6"):
        read_matlab(tmp_path / "a.mat", ["complex"])


def test_files_of_the_other_byte_order_are_read(tmp_path: Path) -> None:
    body = b"".join(
        struct.pack(">II", kind, len(content)) + content + bytes(-len(content) % 8)
        for kind, content in (
            (6, struct.pack(">II", 9, 0)),
            (5, struct.pack(">ii", 1, 2)),
            (1, b"x"),
            (3, struct.pack(">hh", 1, -2)),
        )
    )
    (tmp_path / "a.mat").write_bytes(header(b"\x01\x00", b"MI") + struct.pack(">II", 14, len(body)) + body)
    assert (
        read_matlab(tmp_path / "a.mat", ["x"])["x"].tolist()
        == [1, -2]
        == loadmat(tmp_path / "a.mat")["x"][0].tolist()
    )


def test_a_small_file_cannot_claim_much_memory(tmp_path: Path) -> None:
    packed = zlib.compress(text_matrix(b"x", b"a" * 3_000_000), 9)
    assert len(packed) < 10_000
    (tmp_path / "a.mat").write_bytes(header() + struct.pack("<II", 15, len(packed)) + packed)
    assert len(read_matlab(tmp_path / "a.mat", ["x"])["x"]) == 3_000_000
    with pytest.raises(InvalidInput, match="unpacks to more than 1,000,000 bytes"):
        read_matlab(tmp_path / "a.mat", ["x"], MatlabBounds(unpacked_bytes=1_000_000))
    with pytest.raises(InvalidInput, match="more than 100 bytes"):
        read_matlab(tmp_path / "a.mat", ["x"], MatlabBounds(file_bytes=100))


@pytest.mark.parametrize("count", [2**31 - 1, 10_000_000])
@pytest.mark.parametrize("kind", [1, 2, 9])
def test_a_claim_of_many_values_that_are_not_there_is_refused_at_once(
    tmp_path: Path, kind: int, count: int
) -> None:
    fields = element(5, struct.pack("<i", 1)) + element(1, b"") if kind == 2 else b""
    body = (
        element(6, struct.pack("<II", kind, 0))
        + element(5, struct.pack("<ii", 1, count))
        + element(1, b"x")
        + fields
    )
    (tmp_path / "a.mat").write_bytes(header() + element(14, body))
    with pytest.raises(
        InvalidInput, match=r"is refused: it (is (cut or )?damaged|holds more than 1,000,000)"
    ):
        read_matlab(tmp_path / "a.mat", ["x"])


def claiming(kind: int, *dimensions: int, names: bytes = b"") -> bytes:
    """A value said to be of these dimensions, with nothing in it."""
    fields = element(5, struct.pack("<i", 1)) + element(1, names) if kind == 2 else b""
    return element(
        14,
        element(6, struct.pack("<II", kind, 0))
        + element(5, struct.pack(f"<{len(dimensions)}i", *dimensions))
        + element(1, b"x")
        + fields,
    )


@pytest.mark.parametrize(
    ("matrix", "refusal"),
    [
        (claiming(1, *[2**31 - 1] * 100_000), "more than 32 dimensions"),
        (claiming(1, *[2**31 - 1] * 32), "damaged: a value of more than 128,000,000 items"),
        (claiming(1, 1, -1), "negative size"),
        (claiming(1, 1, 1_000_001), "more than 1,000,000 values"),
        (claiming(2, 1, 1_000_000), "more than 1,000,000 values"),
        (claiming(2, 0, 0, names=b"n" * 2_000_000), "more than 1,000,000 values"),
    ],
    ids=range(6),
)
def test_a_claim_is_refused_before_anything_of_its_size_is_built(
    tmp_path: Path, matrix: bytes, refusal: str
) -> None:
    packed = zlib.compress(matrix, 9)
    (tmp_path / "a.mat").write_bytes(header() + struct.pack("<II", 15, len(packed)) + packed)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match=refusal):
            read_matlab(tmp_path / "a.mat", ["x"])
        assert tracemalloc.get_traced_memory()[1] < 40_000_000  # of these 32 MB to read the file into
    finally:
        tracemalloc.stop()


def test_records_without_a_field_count_like_others_however_many_values_hold_them(tmp_path: Path) -> None:
    part = claiming(2, 1, 600_000)
    body = element(6, struct.pack("<II", 1, 0)) + element(5, struct.pack("<ii", 1, 2)) + element(1, b"x")
    (tmp_path / "a.mat").write_bytes(header() + element(14, body + part + part))
    with pytest.raises(InvalidInput, match="more than 1,000,000 values"):
        read_matlab(tmp_path / "a.mat", ["x"])


def test_a_value_without_items_may_have_long_sides(tmp_path: Path) -> None:
    (tmp_path / "a.mat").write_bytes(header() + claiming(1, 2**31 - 1, 2**31 - 1, 0))
    assert read_matlab(tmp_path / "a.mat", ["x"]) == {"x": []}


def test_more_values_or_deeper_ones_than_the_bounds_are_refused(tmp_path: Path) -> None:
    nested: Any = np.array([1.0])
    for _ in range(12):
        wrapped = np.empty((1, 1), object)
        wrapped[0, 0] = nested
        nested = wrapped
    savemat(tmp_path / "a.mat", {"x": nested, "y": np.array([[1, "a", 2]], dtype=object)})
    with pytest.raises(InvalidInput, match="within each other, more than 8 deep"):
        read_matlab(tmp_path / "a.mat", ["x"])
    with pytest.raises(InvalidInput, match="more than 3 values"):
        read_matlab(tmp_path / "a.mat", ["y"], MatlabBounds(matrices=3))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no file of MATLAB",
        header(b"\x00\x02"),
        b"MATLAB 7.3 MAT-file".ljust(128),
        b"\x80\x04N.".ljust(200),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(InvalidInput, match="no MATLAB file of version 5"):
        read_matlab(tmp_path / "a.mat", ["x"])


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"a\.mat cannot be read: No such file"):
        read_matlab(tmp_path / "a.mat", ["x"])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_anywhere_is_refused_or_read_and_nothing_else(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "a.mat"
    records = np.array([[(1, "a name"), (2, "b")]], dtype=[("class", object), ("fname", object)])
    savemat(path, {"annotations": records}, do_compression=data.draw(st.booleans()))
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(126, len(content) - 1), max_size=3)):
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(128, len(content)))]))
    try:
        read_matlab(path, ["annotations"])
    except InvalidInput as refusal:
        assert "a.mat" in str(refusal)
