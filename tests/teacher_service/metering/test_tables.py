"""CSV that reads back as it was, and that no spreadsheet takes for a formula."""

import csv
import io
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.admin_protocol import UsageOfDay
from shared.chain import ZERO_HASH, ChainBroken, Genesis, Grant, Item, Link, Revoke, Settle, link
from teacher_service.metering.reporting.tables import (
    DAY_COLUMNS,
    RECORD_COLUMNS,
    record_cells,
    to_csv,
    usage_cells,
)
from teacher_service.metering.reporting.usage_report import InvalidSpan, Span

AT_MS = 1_700_000_000_123


def row_of(entry: Link) -> dict[str, str]:
    [row] = csv.DictReader(io.StringIO(to_csv([record_cells(entry)], RECORD_COLUMNS)))
    return row


def test_each_kind_of_record_fills_what_it_has() -> None:
    base: dict[str, Any] = {"key_id": "k", "at_ms": AT_MS}
    settle = Settle(
        **base,
        seq=2,
        request_id="=cmd()",
        teacher_revision="ab" * 32,
        charged=1,
        replayed=0,
        used_after=1,
        items=(Item(image="cd" * 32, descriptor="ef" * 32, charged=True),),
    )
    events = [
        Genesis(**base, seq=0, name="n", budget=4, billing="distinct"),
        Grant(**base, seq=1, amount=3, budget_after=7),
        settle,
        Revoke(**base, seq=3),
    ]
    rows = [row_of(link(event, ZERO_HASH)) for event in events]
    assert [row["kind"] for row in rows] == ["genesis", "grant", "settle", "revoke"]
    assert [row["budget_after"] for row in rows] == ["4", "7", "", ""]
    assert [row["used_after"] for row in rows] == ["", "", "1", ""]
    assert rows[2]["request_id"] == "'=cmd()"
    assert {row["at"] for row in rows} == {"2023-11-14T22:13:20.123+00:00"}
    assert all(row["hash"] == link(event, ZERO_HASH).hash for row, event in zip(rows, events, strict=True))


def test_a_moment_beyond_the_calendar_is_a_number() -> None:
    assert row_of(link(Revoke(key_id="k", seq=1, at_ms=2**53 - 1), ZERO_HASH))["at"] == str(2**53 - 1)


def test_what_is_no_record_is_refused() -> None:
    with pytest.raises(ChainBroken):
        record_cells(Link({"kind": "gift", "seq": 3}, ZERO_HASH))


PRINTABLE = st.text(st.characters(codec="utf-8", exclude_categories=["C"]))


@given(st.lists(st.lists(PRINTABLE, min_size=2), max_size=4))
def test_any_text_reads_back_and_none_begins_as_a_formula(rows: list[list[str]]) -> None:
    read = list(csv.reader(io.StringIO(to_csv(rows))))
    assert [[cell.removeprefix("'") for cell in row] for row in read] == [
        [cell.removeprefix("'") for cell in row] for row in rows
    ]
    assert not [cell for row in read for cell in row if cell[:1] in "=+-@" and cell]


def test_numbers_are_left_alone_and_days_are_iso() -> None:
    row = UsageOfDay(day=date(2026, 1, 31), key_id="-k", name="a", requests=1, charged=2, replayed=3)
    text = to_csv(usage_cells([row]), DAY_COLUMNS)
    assert text == "day,key_id,name,requests,charged,replayed\n2026-01-31,'-k,a,1,2,3\n"
    assert to_csv([(-5,)]) == "-5\n"


def test_a_span_includes_both_its_ends_and_is_open_where_nothing_is_said() -> None:
    span = Span(date(2026, 1, 2), date(2026, 1, 3))
    assert [date(2026, 1, day) in span for day in (1, 2, 3, 4)] == [False, True, True, False]
    assert date.min in Span()
    assert date.max in Span()
    with pytest.raises(InvalidSpan, match=r"2026-01-01\) before they begin \(2026-01-02"):
        Span(date(2026, 1, 2), date(2026, 1, 1))
