"""``teacher-service keys``: hand out, look at, raise and withdraw API keys.

In: names, budgets, key ids. Out: accounts; the text of a key is printed once, when it is made. All of it
works beside a running server.
"""

from typing import Annotated, Any

import typer

from teacher_service.access.keys import mint
from teacher_service.access.rates import InvalidRate, parse_rate
from teacher_service.errors import Failed, InvalidArgument
from teacher_service.metering.ledger import KeyRecord
from teacher_service.options import AsJson, DataDir, LedgerUrl, settings_from, with_ledger
from teacher_service.output import emit, table

app = typer.Typer(help="Hand out, list, raise and revoke API keys.", no_args_is_help=True)

KeyId = Annotated[str, typer.Argument(help="Key id, or a name that only one key has.")]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Whom the key is for.")],
    *,
    budget: Annotated[int, typer.Option(help="Queries that the key may spend.", min=0)],
    rate: Annotated[str, typer.Option(help="Images per period, such as 600/minute; '' for no limit.")] = "",
    billing: Annotated[str, typer.Option(help="distinct, or every-call to pay repeats too.")] = "distinct",
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, once: the ledger keeps only a salted hash."""
    if billing not in ("distinct", "every-call"):
        raise InvalidArgument(f"--billing {billing!r} is not known: use distinct or every-call.")
    try:
        parse_rate(rate)
    except InvalidRate as error:
        raise InvalidArgument(f"--rate: {error}") from None
    settings = settings_from(data_dir=data_dir, ledger=ledger)
    key, new = mint(name, budget, rate, "distinct" if billing == "distinct" else "every-call")
    try:
        record = with_ledger(settings, lambda ledger: ledger.create_key(new), create=True)
    except ValueError as error:
        raise InvalidArgument(str(error)) from None
    emit({"key": key, **account_of(record)}, key, as_json=as_json)


@app.command("list")
def list_keys(data_dir: DataDir = None, ledger: LedgerUrl = None, as_json: AsJson = False) -> None:
    """All keys and what they have left."""
    records = with_ledger(settings_from(data_dir=data_dir, ledger=ledger), lambda ledger: ledger.keys())
    accounts = [account_of(record) for record in records]
    emit({"keys": accounts}, accounts_table(records), as_json=as_json)


@app.command("grant")
def grant(
    key: KeyId,
    amount: Annotated[int, typer.Argument(help="Queries to add to the budget.", min=1)],
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Raise a key's budget."""
    settings = settings_from(data_dir=data_dir, ledger=ledger)
    key_id = find_key(with_ledger(settings, lambda ledger: ledger.keys()), key).key_id
    try:
        record = with_ledger(settings, lambda ledger: ledger.grant(key_id, amount))
    except ValueError as error:
        raise InvalidArgument(str(error)) from None
    text = (
        f"Key {record.key_id} ({record.name}) now has {record.remaining:,} of {record.budget:,} queries left."
    )
    emit(account_of(record), text, as_json=as_json)


@app.command("revoke")
def revoke(key: KeyId, data_dir: DataDir = None, ledger: LedgerUrl = None, as_json: AsJson = False) -> None:
    """Withdraw a key for good; what it spent stays on the ledger."""
    settings = settings_from(data_dir=data_dir, ledger=ledger)
    key_id = find_key(with_ledger(settings, lambda ledger: ledger.keys()), key).key_id
    record = with_ledger(settings, lambda ledger: ledger.revoke(key_id))
    text = f"Key {record.key_id} ({record.name}) is revoked; it spent {record.used:,} queries."
    emit(account_of(record), text, as_json=as_json)


def find_key(records: list[KeyRecord], key: str) -> KeyRecord:
    """The key with this id or, where it is unique, this name.

    Raises:
        Failed: none, or several of that name.
    """
    for record in records:
        if record.key_id == key:
            return record
    named = [record for record in records if record.name == key]
    if len(named) == 1:
        return named[0]
    if named:
        raise Failed(f"{len(named)} keys are named {key!r}; use an id: {', '.join(r.key_id for r in named)}.")
    raise Failed(f"There is no key {key!r}. List the keys with: teacher-service keys list.")


def account_of(record: KeyRecord) -> dict[str, Any]:
    """A key as a JSON object; salt and hash stay in the ledger."""
    return {
        "key_id": record.key_id,
        "name": record.name,
        "billing": record.billing,
        "rate": record.rate,
        "budget": record.budget,
        "used": record.used,
        "held": record.held,
        "remaining": record.remaining,
        "revoked": record.revoked,
        "created_at_ms": record.created_at_ms,
    }


def accounts_table(records: list[KeyRecord]) -> str:
    """Keys as aligned text."""
    if not records:
        return "There is no key yet. Make one with: teacher-service keys create NAME --budget N"
    header = ("key id", "name", "billing", "rate", "budget", "used", "held", "left", "state")
    return table(
        header,
        [
            (
                record.key_id,
                record.name,
                record.billing,
                record.rate or "none",
                record.budget,
                record.used,
                record.held,
                record.remaining,
                "revoked" if record.revoked else "active",
            )
            for record in records
        ],
    )
