"""``teacher-service ledger``: look at the ledger, move it, and check it.

In: the ledger, or an export of it. Out: accounts and records, files, and the verdict of a verification. All
but ``import`` work beside a running server.
"""

import os
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from shared.budgets import budget_text
from shared.chain import Link
from teacher_service.access.commands import account_of, accounts_table, find_key
from teacher_service.errors import Failed, InvalidArgument, VerificationFailed
from teacher_service.metering.archive import LedgerInvalid, LedgerNotEmpty
from teacher_service.metering.ledger import KeyRecord
from teacher_service.options import AsJson, DataDir, LedgerUrl, check_choice, settings_from, with_ledger
from teacher_service.output import emit, table, warn
from teacher_service.settings import Settings

if TYPE_CHECKING:
    from teacher_service.metering.archive import Archive
    from teacher_service.metering.auditing.doctor import Finding
    from teacher_service.metering.auditing.verify import Verified

app = typer.Typer(help="Look at the ledger, move it, check it.", no_args_is_help=True)


@app.command("show")
def show(
    key: Annotated[str | None, typer.Argument(help="Key id or name; without it, all accounts.")] = None,
    last: Annotated[int, typer.Option(help="How many of the key's newest records.", min=1, max=1000)] = 20,
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """All accounts, or one key's account and its newest records."""
    settings = settings_from(data_dir=data_dir, ledger=ledger)

    async def read(ledger: "Archive") -> tuple[list[KeyRecord], Sequence[Link]]:
        records = await ledger.keys()
        if key is None:
            return records, ()
        record = find_key(records, key)
        head = await ledger.head(record.key_id)
        return [record], await ledger.links(record.key_id, after=max(-1, head.seq - last), limit=last)

    records, links = with_ledger(settings, read)
    result: dict[str, Any] = {"keys": [account_of(record) for record in records]}
    text = accounts_table(records)
    if key is not None:
        result["records"] = [{"record": dict(link.record), "hash": link.hash} for link in links]
        text += "\n\n" + table(("seq", "event", "what", "hash"), [_row(link) for link in links])
    emit(result, text, as_json=as_json)


@app.command("export")
def export(
    file: Annotated[Path, typer.Argument(help="Where to write the export.")],
    *,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="jsonl, to be verified and, without --key, imported; csv, a table with a line a record.",
        ),
    ] = "jsonl",
    key: Annotated[str | None, typer.Option(help="Only this key's records; by id or name.")] = None,
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Write all keys and chains to a file, verified on the way. It holds no secret, but salted hashes."""
    check_choice("--format", format_, ("jsonl", "csv"))
    settings = settings_from(data_dir=data_dir, ledger=ledger)
    from teacher_service.metering.auditing.exporting import export_ledger, export_records

    async def write(ledger: "Archive", out: BinaryIO) -> "Verified":
        if key is None and format_ == "jsonl":
            return await export_ledger(ledger, out)
        keys = sorted(await ledger.keys(), key=lambda record: record.key_id)
        chosen = keys if key is None else [find_key(keys, key)]
        return await export_records(ledger, chosen, out, csv=format_ == "csv")

    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as out:
            verified = with_ledger(settings, lambda ledger: write(ledger, out))
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(file)
    except LedgerInvalid as error:
        raise VerificationFailed(f"The ledger does not hold, nothing was exported: {error}") from error
    except OSError as error:
        raise Failed(f"Cannot write {file}: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)
    _report(verified, f"Exported to {file}", as_json, file=str(file))


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="An export.")],
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Fill an empty ledger from an export, all or nothing; its chains go on."""
    settings = settings_from(data_dir=data_dir, ledger=ledger)
    from teacher_service.metering.auditing.file_kinds import NotAnExport, check_importable
    from teacher_service.metering.auditing.verify import import_ledger, verify_export
    from teacher_service.metering.signing import KEY_FILE

    try:
        with file.open("rb") as opened:
            lines = check_importable(opened)
            if opened.seekable():  # a pipe is read once
                verify_export(lines)  # before there is a ledger, which would be left behind empty
                opened.seek(0)
                lines = opened
            verified = with_ledger(settings, lambda ledger: import_ledger(ledger, lines), create=True)
    except NotAnExport as error:
        raise InvalidArgument(f"{file} was not imported: {error}.") from error
    except LedgerInvalid as error:
        raise VerificationFailed(f"{file} was not imported: {error}") from error
    except LedgerNotEmpty as error:
        raise InvalidArgument(f"{error} {_another_place(settings)}") from error
    except OSError as error:
        raise Failed(f"Cannot read {file}: {error.strerror or error}.") from error
    _report(verified, f"Imported {file}", as_json, file=str(file))
    if not (settings.data_dir / KEY_FILE).exists():
        warn(
            f"the key that signs receipts is in no export: before serving, copy {KEY_FILE} from the old data "
            f"folder to {settings.data_dir}, or clients refuse the new receipts."
        )


@app.command("verify")
def verify(
    file: Annotated[
        Path | None, typer.Argument(help="An export in jsonl; without it, the ledger itself.")
    ] = None,
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Check every chain and every total, of the ledger or of an export; or one key's exported chain."""
    settings = settings_from(data_dir=data_dir, ledger=ledger)
    from teacher_service.metering.auditing.file_kinds import NotAnExport, verify_file
    from teacher_service.metering.auditing.verify import verify_store

    what = "The ledger holds"
    try:
        if file is None:
            verified = with_ledger(settings, verify_store)
        else:
            with file.open("rb") as lines:
                verified, kind = verify_file(lines)
            if kind == "records":
                what = f"One key's chain holds up to {verified.accounts[0].head[:12]}, where the file ends"
    except NotAnExport as error:
        raise InvalidArgument(f"{file} cannot be verified: {error}.") from error
    except LedgerInvalid as error:
        raise VerificationFailed(f"The ledger does not hold: {error}") from error
    except OSError as error:
        raise Failed(f"Cannot read {file}: {error.strerror or error}.") from error
    _report(verified, what, as_json)


@app.command("doctor")
def doctor(data_dir: DataDir = None, ledger: LedgerUrl = None, as_json: AsJson = False) -> None:
    """Recompute everything from the events and say in one line whether it agrees, or name each bad key.

    Name the data folder of a service: what that one saw of the ledger shows whether it was put back.
    """
    settings = settings_from(data_dir=data_dir, ledger=ledger)
    finding = _examined(settings)
    result = {"ok": finding.healthy, **asdict(finding)}
    if finding.healthy:
        emit(result, finding.summary, as_json=as_json)
        return
    lines = [*finding.store_faults, *(fault.what for fault in finding.faults)]
    emit(result, "\n".join(" ".join(line.split()) for line in lines), as_json=as_json)
    raise VerificationFailed(finding.summary)


def _examined(settings: Settings) -> "Finding":
    from teacher_service.metering.auditing.doctor import examine, rolled_back
    from teacher_service.metering.watermarks import StoreRolledBack, marks_in
    from teacher_service.state import WATERMARKS_FILE

    file = settings.data_dir / WATERMARKS_FILE
    try:
        return with_ledger(settings, lambda ledger: examine(ledger, marks_in(file)))
    except VerificationFailed as error:
        if not isinstance(error.__cause__, StoreRolledBack):
            raise
        return rolled_back(str(error))


def _another_place(settings: Settings) -> str:
    if settings.ledger_url.startswith("sqlite:"):
        return "Name another folder with --data-dir."
    return "Name an empty database with --ledger: the number at the end of its URL."


def _report(verified: "Verified", what: str, as_json: bool, **more: str) -> None:
    counts = {"keys": len(verified.accounts), "records": verified.records, "used": verified.used}
    text = (
        f"{what}: {counts['keys']:,} keys, {counts['records']:,} records, {counts['used']:,} queries charged."
    )
    heads = {account.key_id: account.head for account in verified.accounts}
    emit({"ok": True, **counts, "heads": heads, **more}, text, as_json=as_json)


def _row(link: Link) -> tuple[object, ...]:
    record = link.record
    match record["kind"]:
        case "genesis":
            budget = budget_text(record["budget"], record.get("window", "total"))
            what = f"budget {budget}, billing {record['billing']}"
        case "grant":
            what = f"+{record['amount']:,} = {record['budget_after']:,}"
        case "settle":
            counts = f"charged {record['charged']:,}, replayed {record['replayed']:,}"
            what = f"{counts}, used {record['used_after']:,}"
        case _:
            what = ""
    return record["seq"], record["kind"], what, link.hash[:12]
