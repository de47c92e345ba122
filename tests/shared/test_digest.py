"""One byte form for one value: the canonical JSON and the digests that receipts and revisions rest on."""

import dataclasses
import hashlib
import json
import math
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.digest import (
    canonical_json,
    digest_of_document,
    digest_of_list,
    float_text,
    parse_canonical,
    sha256_hex,
    sha256_of_file,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@dataclasses.dataclass
class Price:
    amount: float = 1.5


def test_a_known_digest() -> None:
    assert sha256_hex(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_hex(memoryview(b"abc")) == sha256_hex(bytearray(b"abc")) == sha256_hex(b"abc")


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for data in (b"", bytes(range(256)) * 2_000):
        path.write_bytes(data)
        assert sha256_of_file(path) == sha256_hex(data)
    with pytest.raises(FileNotFoundError):
        sha256_of_file(tmp_path / "none")


def test_the_canonical_form_is_sorted_and_compact_and_in_utf8() -> None:
    assert (
        canonical_json({"b": [1, True, None], "a": {"ü": "x"}})
        == '{"a":{"ü":"x"},"b":[1,true,null]}'.encode()
    )


@given(PLAIN)
def test_the_canonical_form_reads_back_as_the_value(value: object) -> None:
    assert json.loads(canonical_json(value)) == value  # type: ignore[arg-type]
    assert parse_canonical(canonical_json(value)) == value  # type: ignore[arg-type]


@given(st.dictionaries(TEXT, PLAIN, max_size=6))
def test_the_order_of_members_makes_no_difference(value: dict[str, object]) -> None:
    reversed_order = dict(reversed(value.items()))
    assert canonical_json(reversed_order) == canonical_json(value)  # type: ignore[arg-type]


@given(PLAIN)
def test_pythons_own_json_gives_the_same_bytes(value: object) -> None:
    """So that a verifier in another language needs no library of ours."""
    ours = canonical_json(value)  # type: ignore[arg-type]
    theirs = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert ours == theirs


@pytest.mark.parametrize("value", [1.0, math.nan, {"a": [{"b": 0.5}]}, (1, 2.0), [[math.inf]]])
def test_a_float_is_refused_at_any_depth(value: object) -> None:
    with pytest.raises(TypeError, match=r"holds no floats, got .*: write it as text"):
        canonical_json(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value",
    [
        b"bytes",
        {1, 2},
        {"a": Price()},
        datetime(2020, 1, 1, tzinfo=UTC),
        UUID(int=0),
        {1: "key"},
        2**64,
        "\ud800",
    ],
)
def test_anything_but_plain_json_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        canonical_json(value)  # type: ignore[arg-type]


@given(st.floats(allow_nan=False))
def test_a_float_as_text_reads_back_exactly(value: float) -> None:
    assert float(float_text(value)) == value


def test_a_float_as_text_is_the_shortest() -> None:
    assert [float_text(value) for value in (0.1, 1, 0.5**0.5)] == ["0.1", "1.0", "0.7071067811865476"]


def test_a_documents_digest_is_that_of_its_canonical_form() -> None:
    assert digest_of_document({"b": 1, "a": "x"}) == hashlib.sha256(b'{"a":"x","b":1}').hexdigest()


def test_a_lists_digest_depends_on_order_and_grouping() -> None:
    assert digest_of_list(["a", "b"]) == hashlib.sha256(b'["a","b"]').hexdigest()
    assert digest_of_list([("a", "b")]) == hashlib.sha256(b'[["a","b"]]').hexdigest()
    others = [["b", "a"], ["ab"], ["a", "b", ""], [("a",), "b"], []]
    assert len({digest_of_list(items) for items in [["a", "b"], [("a", "b")], *others]}) == 7


def test_a_lists_digest_takes_any_iterable_once() -> None:
    assert digest_of_list(letter for letter in "ab") == digest_of_list(["a", "b"])


# Reading


def test_an_indented_document_is_read() -> None:
    assert parse_canonical(b'{\n  "a": [1, null]\n}') == {"a": [1, None]}


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b'{"a":1,"a":2}', "names a member twice: 'a'"),
        (b'{"x":{"b":1,"b":1}}', "names a member twice: 'b'"),
        (b'{"a":1.0}', r"holds the number 1\.0"),
        (b'{"a":1e3}', "holds the number 1e3"),
        (b'{"a":NaN}', "holds the number NaN"),
        (b"[-Infinity]", "holds the number -Infinity"),
        (b"[" * 100_000, "nested too deeply"),
        (b"{", "cut or no JSON, from line 1, column 2 on"),
        (b'{"a":\n[1,', "cut or no JSON, from line 2, column 4 on"),
        (b"", "cut or no JSON, from line 1, column 1 on"),
        (b"a\xff", "cut or no text in UTF-8, from byte 1 on"),
    ],
)
def test_a_document_with_more_than_one_meaning_is_refused(document: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_canonical(document)
