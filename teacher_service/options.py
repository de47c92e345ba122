"""What the commands have in common: shared flags, settings from flags and variables, an open ledger.

In: flags, where ``None`` means not given. Out: validated settings, and results of ledger operations.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from pydantic import ValidationError

from teacher_service.errors import DataDirUnusable, Failed, InvalidArgument, VerificationFailed
from teacher_service.output import warn
from teacher_service.settings import Settings

if TYPE_CHECKING:
    from teacher_service.metering.archive import Archive

Result = TypeVar("Result")

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder of signing key and ledger. (.teacher)", show_default=False),
]
LedgerUrl = Annotated[
    str | None,
    typer.Option(
        "--ledger", help="sqlite:///FILE or redis://..., not the data folder's.", show_default=False
    ),
]


def settings_from(**flags: Any) -> Settings:
    """Settings from the flags that were given, then from ``TEACHER_...`` variables, then defaults.

    Raises:
        InvalidArgument: a value cannot be, or two flags exclude each other; the message names them.
    """
    given = _one_teacher({name: value for name, value in flags.items() if value is not None})
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        message = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:
            raise InvalidArgument(f"{message}.") from None
        name = str(first["loc"][0])
        flag, variable = f"--{name.replace('_', '-')}", f"TEACHER_{name.upper()}"
        raise InvalidArgument(f"{flag} ({variable}): {message}.") from None


def _one_teacher(given: dict[str, Any]) -> dict[str, Any]:
    """The flags name the teacher in one way, and drop a checkpoint that only a variable names."""
    rivals = [f"--{name}" for name in ("arch", "weights") if name in given]
    if not rivals:
        return given
    if "checkpoint" in given:
        raise InvalidArgument(
            f"--checkpoint holds its own architecture and weights: leave out {' and '.join(rivals)}, or it."
        )
    return {**given, "checkpoint": None}


def check_choice(flag: str, value: str, choices: Sequence[str]) -> None:
    """Raises InvalidArgument unless ``value`` is one of the ``choices``."""
    if value not in choices:
        raise InvalidArgument(f"{flag} {value!r} is not known: use {' or '.join(choices)}.")


def with_ledger(
    settings: Settings, work: Callable[["Archive"], Awaitable[Result]], *, create: bool = False
) -> Result:
    """Open the ledger beside a server that may be running, do ``work``, and close it.

    A new ledger is said on standard error: a mistyped folder is no error, but should be seen.

    Raises:
        DataDirUnusable: the ledger is not there (and is not to be created), or cannot be opened or written.
        VerificationFailed: the ledger is older than what was seen of it.
        Failed: the ledger refuses, such as an unknown key.
    """
    from teacher_service.metering.ledger import LedgerError, LedgerUnavailable
    from teacher_service.metering.watermarks import StoreRolledBack
    from teacher_service.state import open_store

    file = Path(settings.ledger_url.removeprefix("sqlite:///"))
    new = settings.ledger_url.startswith("sqlite:///") and not file.exists()
    if new and not create:
        raise DataDirUnusable(
            f"There is no ledger at {file}. Name its folder with --data-dir, or start one: "
            "teacher-service keys create NAME --budget N."
        )

    async def opened() -> Result:
        ledger = open_store(settings, serve=False)
        await ledger.open()
        try:
            return await work(ledger)
        finally:
            await ledger.close()

    try:
        result = asyncio.run(opened())
    except StoreRolledBack as error:
        raise VerificationFailed(str(error)) from error
    except LedgerUnavailable as error:
        raise DataDirUnusable(str(error)) from error
    except LedgerError as error:
        raise Failed(str(error)) from error
    if new:
        warn(f"made a new ledger at {file}")
    return result
