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
    settings: Settings,
    work: Callable[["Archive"], Awaitable[Result]],
    *,
    writes: bool = False,
    create: bool = False,
) -> Result:
    """Open the ledger beside a server that may be running, do ``work``, and close it.

    A new ledger is said on standard error: a mistyped place is no error, but should be seen. Whoever only
    reads is let at a Redis that is not safe to write to: an export is the way out of it.

    Args:
        settings: name the ledger.
        work: is done on the open ledger.
        writes: ``work`` changes the ledger.
        create: make the ledger if there is none.

    Raises:
        DataDirUnusable: the ledger is not there (and is not to be created), or cannot be opened or written.
        VerificationFailed: the ledger is older than what was seen of it.
        Failed: the ledger refuses, such as an unknown key.
    """
    from teacher_service.logs import tell_reasons
    from teacher_service.metering.ledger import LedgerError, LedgerUnavailable
    from teacher_service.metering.stores import place_of_ledger
    from teacher_service.metering.watermarks import StoreRolledBack
    from teacher_service.state import open_store

    async def opened() -> tuple[bool, Result]:
        ledger = open_store(settings, serve=False, reads_only=not (writes or create))
        there = await _is_there(settings, create=create)
        await ledger.open()
        try:
            return there, await work(ledger)
        finally:
            await ledger.close()

    tell_reasons()
    try:
        there, result = asyncio.run(opened())
    except StoreRolledBack as error:
        raise VerificationFailed(str(error)) from error
    except LedgerUnavailable as error:
        raise DataDirUnusable(str(error)) from error
    except LedgerError as error:
        raise Failed(str(error)) from error
    if not there:
        warn(f"made a new ledger at {place_of_ledger(settings.ledger_url)}")
    return result


async def _is_there(settings: Settings, *, create: bool) -> bool:
    """Whether there is a ledger already.

    Raises:
        DataDirUnusable: there is none, and none is to be made.
        StoreRolledBack: there was one that this data folder remembers.
        LedgerUnavailable: it cannot be found out.
    """
    from teacher_service.metering.stores import ledger_is_there, place_of_ledger
    from teacher_service.metering.watermarks import Watermarks
    from teacher_service.state import WATERMARKS_FILE

    there = await ledger_is_there(settings.ledger_url)
    if not there:
        Watermarks(settings.data_dir / WATERMARKS_FILE).check_no_store_known()
        if not create:
            raise DataDirUnusable(
                f"There is no ledger at {place_of_ledger(settings.ledger_url)}. Name its folder with "
                "--data-dir or its place with --ledger, or start one: teacher-service keys create NAME "
                "--budget N."
            )
    return there
