"""An export outlives the program that wrote it: each file in ``exports/`` was made by an older one.

``before-windows.jsonl``: budgets had no windows yet, and neither had key lines.
"""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from shared.digest import canonical_json, sha256_hex
from teacher_service.cli import app
from teacher_service.metering.archive import LedgerInvalid
from teacher_service.metering.auditing.exporting import export_ledger
from teacher_service.metering.auditing.verify import import_ledger, verify_export, verify_store

BEFORE_WINDOWS = Path(__file__).parent / "exports" / "before-windows.jsonl"


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def test_an_export_from_before_windows_verifies_on_the_command_line_too() -> None:
    assert b"window" not in BEFORE_WINDOWS.read_bytes()
    verified = verify_export(lines_of(BEFORE_WINDOWS))
    assert (len(verified.accounts), verified.records, verified.used) == (2, 8, 6)
    result = CliRunner().invoke(app, ["ledger", "verify", str(BEFORE_WINDOWS)])
    assert result.exit_code == 0, result.output


def test_an_export_from_before_windows_is_imported_and_goes_on_under_budgets_in_total(desk: Any) -> None:
    desk.clock.now_ms += 10**9  # the file was made after the clock's first moment
    verified = desk.run(import_ledger(desk.ledger, lines_of(BEFORE_WINDOWS)))
    assert verified == verify_export(lines_of(BEFORE_WINDOWS))
    one, other = desk.run(desk.ledger.keys())
    assert (one.window, one.budget, one.used, one.remaining) == ("total", 5, 3, 2)
    assert (other.name, other.billing, other.revoked) == ("Grüße, 学生", "every-call", True)
    assert desk.buy(one.key_id, "a", "b", "d").charged == 1, "what was paid stays paid"
    desk.run(verify_store(desk.ledger))


def test_leaving_the_window_out_does_not_turn_a_daily_budget_into_one_in_total(
    sqlite_desk: Any, tmp_path: Path
) -> None:
    sqlite_desk.new_key(budget=3, window="day")
    file = tmp_path / "export.jsonl"
    with file.open("wb") as out:
        sqlite_desk.run(export_ledger(sqlite_desk.ledger, out))
    header, key, record, _ = lines_of(file)
    body = header + key.replace(b',"window":"day"', b"") + record
    end = {"kind": "end", "keys": 1, "records": 1, "digest": sha256_hex(body)}
    with pytest.raises(LedgerInvalid, match="window = 'total'; its chain gives 'day'"):
        verify_export([*body.splitlines(keepends=True), canonical_json(end) + b"\n"])
