"""``teacher-service keys``: hand out, look at, raise and withdraw API keys.

In: names, budgets, key ids. Out: accounts; the text of a key is printed once, when it is made. All of it
works beside a running server.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.budgets import budget_text, moment_text, until_text
from shared.chain import Billing
from teacher_service.access.budgets import InvalidBudget, parse_budget
from teacher_service.access.keys import mint
from teacher_service.access.rates import InvalidRate, parse_rate
from teacher_service.errors import Failed, InvalidArgument
from teacher_service.metering.ledger import KeyRecord, KeyRevoked
from teacher_service.options import AsJson, DataDir, LedgerUrl, settings_from, with_ledger
from teacher_service.output import emit, table

if TYPE_CHECKING:
    from teacher_service.metering.archive import Archive

app = typer.Typer(help="Hand out, list, raise and revoke API keys.", no_args_is_help=True)

KeyId = Annotated[str, typer.Argument(help="Key id, or a name that only one key has.")]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Whom the key is for.")],
    *,
    budget: Annotated[str, typer.Option(help="Queries that the key may spend: 4000, 1000/day or 200/hour.")],
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
        allowed = parse_budget(budget)
    except InvalidRate as error:
        raise InvalidArgument(f"--rate: {error}") from None
    except InvalidBudget as error:
        raise InvalidArgument(f"--budget: {error}") from None
    settings = settings_from(data_dir=data_dir, ledger=ledger)
    policy: Billing = "distinct" if billing == "distinct" else "every-call"
    key, new = mint(name, allowed.queries, rate, policy, allowed.window)
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
    amount: Annotated[int, typer.Argument(help="Queries to add to the budget (of each window).", min=1)],
    *,
    expected_budget: Annotated[
        int | None, typer.Option(help="Grant only if this is the budget now, so never twice.", min=0)
    ] = None,
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Raise a key's budget."""
    settings = settings_from(data_dir=data_dir, ledger=ledger)

    async def raise_budget(ledger: "Archive") -> KeyRecord:
        key_id = find_key(await ledger.keys(), key).key_id
        try:
            return await ledger.grant(key_id, amount, expected_budget=expected_budget)
        except KeyRevoked:
            raise Failed(
                f"Nothing was granted: key {key_id} was revoked for good. Make another with: "
                "teacher-service keys create NAME --budget N."
            ) from None

    try:
        record = with_ledger(settings, raise_budget, writes=True)
    except ValueError as error:
        raise InvalidArgument(str(error)) from None
    emit(account_of(record), granted_text(record), as_json=as_json)


@app.command("revoke")
def revoke(key: KeyId, data_dir: DataDir = None, ledger: LedgerUrl = None, as_json: AsJson = False) -> None:
    """Withdraw a key for good; what it spent stays on the ledger."""
    settings = settings_from(data_dir=data_dir, ledger=ledger)

    async def withdraw(ledger: "Archive") -> KeyRecord:
        return await ledger.revoke(find_key(await ledger.keys(), key).key_id)

    record = with_ledger(settings, withdraw, writes=True)
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


def granted_text(record: KeyRecord) -> str:
    """What a key may spend after a grant, for people."""
    windowed = (
        "" if record.window == "total" else f"; its budget is {budget_text(record.budget, record.window)}"
    )
    return (
        f"Key {record.key_id} ({record.name}) now has {record.remaining:,} of {record.budget:,} queries left"
        f"{until_text(record.window_ends_at_ms)}{windowed}."
    )


def account_of(record: KeyRecord) -> dict[str, Any]:
    """A key as a JSON object; salt and hash stay in the ledger."""
    return {
        "key_id": record.key_id,
        "name": record.name,
        "billing": record.billing,
        "rate": record.rate,
        "budget": record.budget,
        "window": record.window,
        "window_ends_at_ms": record.window_ends_at_ms,
        "used": record.used,
        "used_in_window": record.used_in_window,
        "held": record.held,
        "remaining": record.spendable,
        "revoked": record.revoked,
        "created_at_ms": record.created_at_ms,
    }


def accounts_table(records: list[KeyRecord]) -> str:
    """Keys as aligned text."""
    if not records:
        return "There is no key yet. Make one with: teacher-service keys create NAME --budget N"
    header = (
        *("key id", "name", "billing", "rate", "budget", "window", "used", "in window", "held", "left"),
        *("next window", "state"),
    )
    return table(header, [_row(record) for record in records])


def _row(record: KeyRecord) -> tuple[object, ...]:
    ends_at_ms = record.window_ends_at_ms
    return (
        record.key_id,
        record.name,
        record.billing,
        record.rate or "none",
        record.budget,
        record.window,
        record.used,
        record.used_in_window,
        record.held,
        record.spendable,
        "none" if ends_at_ms is None else moment_text(ends_at_ms),
        "revoked" if record.revoked else "active",
    )
