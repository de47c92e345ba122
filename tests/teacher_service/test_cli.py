"""The commands beside ``serve``: their results, their one-line errors and their exit codes."""

import asyncio
import csv
import io
import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from command_line import Run, one_line

# --- keys ---------------------------------------------------------------------------------------------


def test_a_created_key_is_printed_once_and_never_stored(run: Run, data_dir: Path) -> None:
    made = run("keys", "create", "alice", "--budget", "10", "--rate", "600/minute")
    key = made.out.strip()
    assert made.code == 0
    assert key.startswith("rtn_")
    assert key.split("_")[2] not in run("keys", "list").out
    stored = b"".join(path.read_bytes() for path in data_dir.glob("ledger.sqlite*"))
    assert key.split("_")[2].encode() not in stored


def test_keys_are_created_listed_raised_and_revoked(run: Run) -> None:
    made = run("keys", "create", "bob", "--budget", "10", "--billing", "every-call", "--json").json
    assert (made["name"], made["billing"], made["remaining"]) == ("bob", "every-call", 10)
    assert run("keys", "grant", "bob", "5", "--json").json["budget"] == 15
    assert run("keys", "grant", made["key_id"], "5", "--json").json["budget"] == 20
    assert "20 of 20" not in run("keys", "revoke", "bob").out
    [account] = run("keys", "list", "--json").json["keys"]
    assert (account["revoked"], account["budget"], account["remaining"]) == (True, 20, 0)
    assert run("keys", "list").out.split()[-3:] == ["0", "none", "revoked"]
    refused = one_line(run("keys", "grant", "bob", "5"), 1)
    assert "was revoked for good. Make another with: teacher-service keys create" in refused


def test_a_budget_for_each_day_is_told_with_what_is_left_and_until_when(run: Run) -> None:
    made = run("keys", "create", "carol", "--budget", "1,000/day", "--json").json
    assert (made["budget"], made["window"], made["used_in_window"]) == (1000, "day", 0)
    assert made["window_ends_at_ms"] % 86_400_000 == 0
    granted = run("keys", "grant", "carol", "500").out
    assert "now has 1,500 of 1,500 queries left until 20" in granted
    assert granted.endswith("00:00 UTC; its budget is 1,500/day.\n")
    [header, row] = run("keys", "list").out.splitlines()
    assert "window" in header
    assert "00:00 UTC  active" in row
    genesis = run("ledger", "show", "carol").out.splitlines()[-2]
    assert "budget 1,000/day, billing distinct" in genesis


def test_a_budget_in_total_has_no_window_that_ends(run: Run) -> None:
    made = run("keys", "create", "dora", "--budget", "4000 in total", "--json").json
    assert (made["budget"], made["window"], made["window_ends_at_ms"]) == (4000, "total", None)
    assert run("keys", "grant", "dora", "1").out.endswith("has 4,001 of 4,001 queries left.\n")


def test_no_keys_yet_says_how_to_make_one(run: Run) -> None:
    assert "no ledger" in one_line(run("keys", "list"), 4)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("create", "x", "--budget", "1", "--rate", "fast"), 2, "is not a rate"),
        (("create", "x", "--budget", "1", "--billing", "free"), 2, "distinct or every-call"),
        (("create", "", "--budget", "1"), 2, "1 to 200 characters"),
        (("create", "x", "--budget", str(2**60)), 2, "not possible"),
        (("create", "x", "--budget", "1000/week"), 2, "--budget: '1000/week' is not a budget in queries"),
        (("create", "x", "--budget", "-1"), 2, "--budget: '-1' is not a budget in queries"),
    ],
)
def test_a_key_that_cannot_be_is_refused(run: Run, arguments: tuple[str, ...], code: int, words: str) -> None:
    assert words in one_line(run("keys", *arguments), code)


def test_a_ledger_that_is_made_anew_is_said_once(run: Run, data_dir: Path) -> None:
    """A mistyped --data-dir would otherwise pass unseen, with a key that no server knows."""
    first = run("keys", "create", "x", "--budget", "1", "--json")
    assert (first.code, first.json["name"]) == (0, "x")
    assert first.err == f"teacher-service: made a new ledger at {data_dir / 'ledger.sqlite'}\n"
    assert run("keys", "create", "y", "--budget", "1").err == ""


def test_a_key_is_found_by_id_or_by_a_name_that_is_unique(run: Run) -> None:
    run("keys", "create", "twin", "--budget", "1")
    run("keys", "create", "twin", "--budget", "1")
    assert "2 keys are named 'twin'" in one_line(run("keys", "revoke", "twin"), 1)
    assert "no key 'nobody'" in one_line(run("keys", "revoke", "nobody"), 1)


# --- ledger -------------------------------------------------------------------------------------------


def test_the_ledger_is_shown_verified_exported_and_imported(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("keys", "create", "alice", "--budget", "1000")
    run("keys", "grant", "alice", "500")
    shown = run("ledger", "show", "alice", "--json").json
    assert [entry["record"]["kind"] for entry in shown["records"]] == ["genesis", "grant"]
    assert "+500 = 1,500" in run("ledger", "show", "alice").out
    assert "alice" in run("ledger", "show").out
    verified = run("ledger", "verify", "--json").json
    assert (verified["ok"], verified["keys"], verified["records"]) == (True, 1, 2)

    export = tmp_path / "export.jsonl"
    assert run("ledger", "export", str(export)).code == 0
    assert export.stat().st_mode & 0o077 == 0
    assert run("ledger", "verify", str(export), "--json").json["heads"] == verified["heads"]
    monkeypatch.setenv("TEACHER_DATA_DIR", str(tmp_path / "elsewhere"))
    imported = run("ledger", "import", str(export))
    assert imported.code == 0
    assert f"copy signing.key from the old data folder to {tmp_path / 'elsewhere'}" in imported.err
    assert run("ledger", "verify", "--json").json["heads"] == verified["heads"]
    assert "into an empty one. Name another folder" in one_line(run("ledger", "import", str(export)), 2)
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "signing.key").write_text("07" * 32)
    again = run("ledger", "import", str(export), "--data-dir", str(moved))
    assert again.err == f"teacher-service: made a new ledger at {moved / 'ledger.sqlite'}\n"


def test_a_changed_export_is_detected(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("keys", "create", "alice", "--budget", "1000")
    export = tmp_path / "export.jsonl"
    run("ledger", "export", str(export))
    export.write_bytes(export.read_bytes().replace(b'"budget":1000', b'"budget":2000'))
    one_line(run("ledger", "verify", str(export)), 7)
    monkeypatch.setenv("TEACHER_DATA_DIR", str(tmp_path / "elsewhere"))
    one_line(run("ledger", "import", str(export)), 7)


def test_a_file_that_cannot_be_read_or_written_is_named(run: Run, tmp_path: Path) -> None:
    run("keys", "create", "alice", "--budget", "1")
    assert "nothing.jsonl" in one_line(run("ledger", "verify", str(tmp_path / "nothing.jsonl")), 1)
    assert "nowhere" in one_line(run("ledger", "export", str(tmp_path / "nowhere" / "x.jsonl")), 1)


def test_a_ledger_that_is_no_ledger_is_refused(run: Run, data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "ledger.sqlite").write_bytes(b"this is not a database, whatever its name may say" * 100)
    assert "ledger.sqlite" in one_line(run("ledger", "show"), 4)


def test_a_store_that_does_not_exist_here_is_refused(run: Run) -> None:
    assert "sqlite:///FILE" in one_line(
        run("keys", "create", "x", "--budget", "1", "--ledger", "oracle://x"), 2
    )


# --- usage, tables and the doctor ---------------------------------------------------------------------


@pytest.fixture
def bought(run: Run, data_dir: Path) -> dict[str, Any]:
    """A key that bought two images and asked for one of them again; a second key that bought nothing."""
    from teacher_service.metering.ledger import Reservation
    from teacher_service.metering.sqlite.store import SqliteLedger

    made: dict[str, Any] = run("keys", "create", "alice", "--budget", "10", "--json").json
    run("keys", "create", "@bob", "--budget", "5/day")

    async def buy() -> None:
        ledger = SqliteLedger(data_dir / "ledger.sqlite", serve=False)
        await ledger.open()
        for number, images in enumerate((("aa" * 32, "bb" * 32), ("aa" * 32,))):
            asked = Reservation(made["key_id"], f"req_{number}", "cc" * 32, images)
            await ledger.settle(await ledger.reserve(asked), dict.fromkeys(images, "dd" * 32))
        await ledger.close()

    asyncio.run(buy())
    return made


def test_usage_is_told_by_key_and_by_day(run: Run, bought: dict[str, Any]) -> None:
    by_key = run("usage", "--json").json
    assert [row["name"] for row in by_key["rows"]] == ["alice", "@bob"]
    spent = by_key["rows"][0]
    assert (spent["used"], spent["remaining"], spent["requests"], spent["replayed"]) == (2, 8, 2, 1)
    assert "alice" in run("usage").out
    assert "none" in run("usage", "--key", "alice").out
    assert "00:00 UTC" in run("usage", "--key", "@bob").out
    by_day = run("usage", "--by", "day", "--key", "alice", "--format", "json").json["rows"]
    [row] = by_day
    assert (row["key_id"], row["name"], row["requests"]) == (bought["key_id"], "alice", 2)
    assert (row["charged"], row["replayed"]) == (2, 1)
    assert run("usage", "--by", "day", "--since", "2100-01-01", "--json").json["rows"] == []
    assert row["day"] in run("usage", "--by", "day", "--since", row["day"], "--until", row["day"]).out


def test_usage_as_csv_reads_back(run: Run, bought: dict[str, Any]) -> None:
    rows = list(csv.DictReader(io.StringIO(run("usage", "--format", "csv").out)))
    assert [(row["name"], row["budget"], row["window"]) for row in rows] == [
        ("alice", "10", "total"),
        ("'@bob", "5", "day"),
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--by", "year"), 2, "--by 'year'"),
        (("--format", "xlsx"), 2, "table or csv or json"),
        (("--format", "csv", "--json"), 2, "exclude each other"),
        (("--since", "yesterday"), 2, "--since 'yesterday'"),
        (("--since", "2026-02-01", "--until", "2026-01-01"), 2, "before they begin"),
        (("--key", "nobody"), 1, "no key 'nobody'"),
    ],
)
def test_usage_that_cannot_be_is_refused(
    run: Run, bought: dict[str, Any], arguments: tuple[str, ...], code: int, words: str
) -> None:
    assert words in one_line(run("usage", *arguments), code)


def test_records_are_exported_as_csv_of_all_keys_or_of_one(
    run: Run, tmp_path: Path, bought: dict[str, Any]
) -> None:
    file = tmp_path / "records.csv"
    assert run("ledger", "export", str(file), "--format", "csv", "--json").json["records"] == 4
    with file.open(newline="") as lines:
        assert len(list(csv.DictReader(lines))) == 4
    run("ledger", "export", str(file), "--format", "csv", "--key", "alice")
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["kind"] for row in rows] == ["genesis", "settle", "settle"]
    assert [row["request_id"] for row in rows] == ["", "req_0", "req_1"]
    assert "format 'xlsx'" in one_line(run("ledger", "export", str(file), "--format", "xlsx"), 2)


def test_one_keys_records_as_jsonl_are_its_chain(run: Run, tmp_path: Path, bought: dict[str, Any]) -> None:
    from shared.chain import Link, verify_chain

    file = tmp_path / "records.jsonl"
    assert run("ledger", "export", str(file), "--key", bought["key_id"]).code == 0
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert verify_chain(Link(line["record"], line["hash"]) for line in lines).used == 2


def test_one_keys_exported_records_are_verified_as_the_chain_that_they_are(
    run: Run, tmp_path: Path, bought: dict[str, Any]
) -> None:
    file = tmp_path / "records.jsonl"
    run("ledger", "export", str(file), "--key", "alice")
    told = run("ledger", "verify", str(file), "--json").json
    assert (told["keys"], told["records"], told["used"]) == (1, 3, 2)
    head = told["heads"][bought["key_id"]]
    assert run("ledger", "verify", str(file)).out.startswith(
        f"One key's chain holds up to {head[:12]}, where"
    )
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b'"charged":2', b'"charged":1'))
    assert "does not hold: Line 2" in one_line(run("ledger", "verify", str(file)), 7)
    file.write_bytes(whole.replace(b'"kind":"record"', b'"kind":"recorD"'))
    assert "Line 1: not a record" in one_line(run("ledger", "verify", str(file)), 7)
    file.write_bytes(whole[: len(whole) // 2])
    assert "does not hold: Line" in one_line(run("ledger", "verify", str(file)), 7)


def test_a_file_of_another_kind_is_named_as_what_it_is(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bought: dict[str, Any]
) -> None:
    table, records = tmp_path / "records.csv", tmp_path / "records.jsonl"
    run("ledger", "export", str(table), "--format", "csv")
    run("ledger", "export", str(records), "--key", "alice")
    assert "it is a table for spreadsheets" in one_line(run("ledger", "verify", str(table)), 2)
    monkeypatch.setenv("TEACHER_DATA_DIR", str(tmp_path / "elsewhere"))
    assert "a table of records, not a whole ledger" in one_line(run("ledger", "import", str(table)), 2)
    assert "the records of one key, not a whole ledger" in one_line(run("ledger", "import", str(records)), 2)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"path,label,split\na.jpg,dog,test\n",
        b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
        b"[objective]\nname = 'rank'\n",
        b'{\n "format": "certificate"\n}\n',
        b"",
    ],
)
def test_a_file_that_is_none_of_ours_is_no_broken_ledger(run: Run, tmp_path: Path, content: bytes) -> None:
    file, new = tmp_path / "file", tmp_path / "new"
    file.write_bytes(content)
    why = "it does not begin as an export does" if content else "it is empty"
    assert f"{file} cannot be verified: {why}" in one_line(run("ledger", "verify", str(file)), 2)
    told = one_line(run("ledger", "import", str(file), "--data-dir", str(new)), 2)
    assert f"{file} was not imported: {why}" in told
    assert not new.exists()


@pytest.mark.parametrize("lost", [1, 2, "all but the last"])
def test_an_export_that_lost_its_first_lines_does_not_hold(
    run: Run, tmp_path: Path, bought: dict[str, Any], lost: int | str
) -> None:
    file, new = tmp_path / "export.jsonl", tmp_path / "new"
    run("ledger", "export", str(file))
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[lost:] if isinstance(lost, int) else lines[-1:]))
    assert "does not hold: Line" in one_line(run("ledger", "verify", str(file)), 7)
    assert run("ledger", "import", str(file), "--data-dir", str(new)).code in (2, 7)
    assert not new.exists()


@pytest.mark.parametrize(
    ("written", "forged", "code"),
    [
        (b"export/1", b"export/2", 7),
        (b'{"kind":"ration', b'{"kind":"nation', 7),
        (b'{"kind":"ration-ledger-export/1"}', b'{"kind": "ration-ledger-export/1"}', 7),
        (b'{"kind":"ration', b' {"kind":"ration', 2),
        (b'{"kind":"ration', b'\n{"kind":"ration', 2),
    ],
)
def test_an_export_with_an_altered_header_passes_as_nothing(
    run: Run, tmp_path: Path, bought: dict[str, Any], written: bytes, forged: bytes, code: int
) -> None:
    file, new = tmp_path / "export.jsonl", tmp_path / "new"
    run("ledger", "export", str(file))
    file.write_bytes(file.read_bytes().replace(written, forged, 1))
    told = one_line(run("ledger", "verify", str(file)), code)
    assert "does not hold: Line 1" in told or "or was altered" in told
    one_line(run("ledger", "import", str(file), "--data-dir", str(new)), code)
    assert not new.exists()


def test_an_import_that_fails_leaves_no_ledger_behind(
    run: Run, tmp_path: Path, bought: dict[str, Any]
) -> None:
    file, new = tmp_path / "export.jsonl", tmp_path / "new"
    run("ledger", "export", str(file))
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b'"charged":2', b'"charged":1', 1))
    assert f"{file} was not imported: Line " in one_line(
        run("ledger", "import", str(file), "--data-dir", str(new)), 7
    )
    assert not new.exists()
    file.write_bytes(whole)
    assert run("ledger", "import", str(file), "--data-dir", str(new)).code == 0


def test_an_export_is_imported_from_a_pipe_too(run: Run, tmp_path: Path, bought: dict[str, Any]) -> None:
    file, pipe = tmp_path / "export.jsonl", tmp_path / "pipe"
    run("ledger", "export", str(file))
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(file.read_bytes()), daemon=True)
    writer.start()
    assert run("ledger", "import", str(pipe), "--data-dir", str(tmp_path / "new")).code == 0
    writer.join()


def test_the_doctor_says_in_one_line_that_all_agrees(run: Run, bought: dict[str, Any]) -> None:
    told = run("ledger", "doctor")
    assert (told.code, told.err) == (0, "")
    [line] = told.out.splitlines()
    assert line.startswith("healthy: 2 keys, 4 records: used 2 = events 2 = charged images 2; held 0 = 0")
    assert run("ledger", "doctor", "--json").json["ok"] is True


def test_the_doctor_names_what_is_wrong_and_ends_with_7(
    run: Run, data_dir: Path, bought: dict[str, Any]
) -> None:
    db = sqlite3.connect(data_dir / "ledger.sqlite")
    with db:
        db.execute("UPDATE keys SET budget = 7")
    db.close()
    told = run("ledger", "doctor")
    assert told.code == 7
    assert sorted(bought["key_id"] in line for line in told.out.splitlines()) == [False, True]
    assert told.err == "teacher-service: 2 of 2 keys do not hold.\n"
    result = json.loads(run("ledger", "doctor", "--json").out)
    assert (result["ok"], len(result["faults"]), result["store_faults"]) == (False, 2, [])


def test_a_grant_for_a_budget_that_is_another_by_now_is_refused(run: Run, bought: dict[str, Any]) -> None:
    again = ("keys", "grant", "alice", "5", "--expected-budget", "10")
    assert run(*again, "--json").json["budget"] == 15
    assert "it has 15" in one_line(run(*again), 1)


# --- model and serve ----------------------------------------------------------------------------------


def test_model_info_tells_what_would_be_served(run: Run) -> None:
    card = run("model", "info", "--arch", "mobilenet_v2-320x0.1", "--truncate-dims", "8", "--json").json
    assert (card["model"], card["dimension"]) == ("mobilenet_v2-320x0.1-gem", 8)
    assert card["description"]["output"]["truncate_dims"] == 8
    text = run("model", "info", "--arch", "mobilenet_v2-320x0.1", "--truncate-dims", "8").out
    assert f"teacher_revision {card['teacher_revision']}" in text
    assert "\nweights random, seed 0\n" in text


def test_random_weights_are_warned_of_and_others_are_named(run: Run, tmp_path: Path) -> None:
    """Where nothing is named, weights are random: whoever distils them by mistake pays for noise."""
    from shared.checkpoints import save_network
    from shared.network import NetworkSpec, build_network

    random = run("model", "info", "--arch", "mobilenet_v2-320x0.1", "--weights-seed", "7", "--json")
    assert random.json["weights"] == "random, seed 7"
    [line] = random.err.splitlines()
    assert "random weights carry no meaning; name weights with --checkpoint or --weights" in line

    file = tmp_path / "teacher.safetensors"
    save_network(build_network(NetworkSpec("mobilenet_v2-320x0.1"), seed=0), file)
    named = run("model", "info", "--checkpoint", str(file), "--json")
    assert (named.json["weights"], named.err) == ("teacher.safetensors", "")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--port", "99999"), 2, "--port"),
        (("--host", "no.such.host.invalid", "--port", "0"), 3, "no.such.host.invalid"),
        (("--arch", "vgg", "--port", "0"), 5, "Unknown architecture"),
        (("--checkpoint", "/nowhere.safetensors", "--port", "0"), 5, "/nowhere.safetensors"),
        (("--checkpoint", "gl18-tl-resnet50-gem-w-83fdc30.pth", "--port", "0"), 5, "download http://"),
        (("--checkpoint", "x.pth", "--arch", "resnet18", "--port", "0"), 2, "leave out --arch, or it"),
        (("--checkpoint", "x.pth", "--weights", "imagenet", "--port", "0"), 2, "leave out --weights, or it"),
        (("--data-dir", "/proc/none", "--port", "0"), 4, "/proc/none"),
        (("--admin-key-file", "/nowhere.key", "--port", "0"), 2, "/nowhere.key"),
        (
            ("--ledger", "postgres://x", "--port", "0"),
            2,
            "--ledger (TEACHER_LEDGER): this must be sqlite:///",
        ),
    ],
)
def test_a_server_that_cannot_start_says_why(
    run: Run, arguments: tuple[str, ...], code: int, words: str
) -> None:
    assert words in one_line(run("serve", *arguments), code)


@pytest.mark.parametrize(
    "url",
    [
        "redis:/:s3cr3t@h:6379/0",
        "redis//:s3cr3t@h:6379/0",
        "redsi://:s3cr3t@h:6379/0",
        "redis://:s3cr3t/more@h:6379/0",
        "redis://:s3cr3t#more@h:6379/0",
        "redis://:s3cr3t?more@h:6379/0",
        "redis://:s3cr3t@h:6379/0?foo=1",
        "redis://:s3cr3t@h:63790000/0",
        "redis://[:s3cr3t@h",
        ":s3cr3t@h",
    ],
)
def test_a_ledger_url_that_is_mistyped_is_refused_in_one_line_without_its_password(
    run: Run, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("TEACHER_LEDGER", url)
    for command in (("keys", "list"), ("ledger", "verify"), ("serve", "--port", "0")):
        line = one_line(run(*command), 2)
        assert "--ledger (TEACHER_LEDGER): this must be" in line
        assert "s3cr3t" not in line
        assert "more" not in line


def test_the_admin_key_is_no_flag(run: Run) -> None:
    """Process lists show flags."""
    assert run("serve", "--admin-key", "x" * 40, "--port", "0").code == 2


def test_a_taken_port_is_reported_before_the_teacher_is_loaded(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = one_line(run("serve", "--arch", "no-such-arch", "--port", str(port)), 3)
    assert f"Port {port}" in line


def test_the_commands_start_without_loading_the_tensor_library() -> None:
    """Every keys and ledger command would otherwise take seconds."""
    code = "import sys, teacher_service.cli, teacher_service.state; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- a ledger that went back in time ------------------------------------------------------------------


def test_a_ledger_older_than_what_was_seen_of_it_is_refused_by_every_command(
    run: Run, data_dir: Path
) -> None:
    from teacher_service.metering.ledger import Ledger
    from teacher_service.metering.stores import open_ledger

    async def grant_while_serving(key_id: str) -> None:
        ledger: Ledger = open_ledger(
            f"sqlite:///{data_dir}/ledger.sqlite", watermarks=data_dir / "watermarks.sqlite"
        )
        await ledger.open()
        await ledger.grant(key_id, 5)
        await ledger.close()

    key_id = run("keys", "create", "alice", "--budget", "3", "--json").json["key_id"]
    ledger = data_dir / "ledger.sqlite"
    older = ledger.read_bytes()
    asyncio.run(grant_while_serving(key_id))
    newest = ledger.read_bytes()
    ledger.write_bytes(older)
    for command in (
        ("keys", "list"),
        ("ledger", "verify"),
        ("serve", "--arch", "mobilenet_v2-320x0.1", "--port", "0"),
    ):
        line = one_line(run(*command), 7)
        assert f"record 1 of key {key_id} was seen and is gone" in line
        assert f"remove {data_dir}/watermarks.sqlite" in line
    doctor = run("ledger", "doctor")
    assert (doctor.code, f"record 1 of key {key_id} was seen and is gone" in doctor.out) == (7, True)
    ledger.write_bytes(newest)
    assert run("keys", "list").code == 0
    assert "holds the newest records that were seen of 1 keys" in run("ledger", "doctor").out


def test_an_import_beside_the_memory_of_another_ledger_is_refused(
    run: Run, data_dir: Path, tmp_path: Path
) -> None:
    from teacher_service.metering.watermarks import Watermarks

    run("keys", "create", "alice", "--budget", "3")
    export = tmp_path / "export.jsonl"
    assert run("ledger", "export", str(export)).code == 0
    Watermarks(data_dir / "watermarks.sqlite").load("another")
    (data_dir / "ledger.sqlite").unlink()
    line = one_line(run("ledger", "import", str(export)), 7)
    assert f"remove {data_dir}/watermarks.sqlite" in line
    assert run("ledger", "import", str(export), "--data-dir", str(tmp_path / "new")).code == 0
    (data_dir / "watermarks.sqlite").unlink()
    assert run("ledger", "import", str(export)).code == 0
