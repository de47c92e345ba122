"""A command's dealings with the service, from opening the connection to closing it.

In: a transfer set, an address and a key. Out: a quote, a finished fetch, or the key's ledger. These are
the blocking entry points of the commands; each runs its own event loop.
"""

import asyncio
import re
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from shared.certificate import Certificate
from shared.chain import Link
from shared.protocol import ModelCard, UsageResponse
from shared.receipts import SignedHead
from student_trainer.acquire.client import Access, Patience, TeacherClient
from student_trainer.acquire.fetch import Fetch, Outcome
from student_trainer.acquire.pacing import Pacer, StopSignal
from student_trainer.acquire.purpose import TRAINING, Purpose
from student_trainer.acquire.quote import Quote, ask_for_quote
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.errors import InvalidInput


@dataclass(frozen=True)
class FetchSettings:
    """How to fetch: requests on their way at once, images in each, and time limits."""

    concurrency: int = 4
    batch: int = 16
    patience: Patience = field(default_factory=Patience)


def access_to(url: str | None, key: str | None, transfer_set: TransferSet | None = None) -> Access:
    """The address given, or else that of the last fetch; and the API key.

    Raises:
        InvalidInput: one of them is missing or cannot be.
    """
    pinned = transfer_set.teacher if transfer_set else None
    address = url or (pinned.url if pinned else None)
    if not address:
        raise InvalidInput("The address of the teacher service is missing: give --url, or set TEACHER_URL.")
    if not key:
        raise InvalidInput("The API key is missing: set TEACHER_API_KEY, or give --key.")
    return Access(address, key.strip())


def trusted_key(
    certificate: Certificate, public_key: str | None, url: str | None, key: str | None
) -> tuple[str, str]:
    """The public key to check a certificate with, and in words where it came from.

    Raises:
        InvalidInput: two sources are given, or the key is malformed.
        ServiceRefused: the service at ``url`` did not say.
    """
    if public_key is not None and url is not None:
        raise InvalidInput("Give either --public-key or --url, not both.")
    if public_key is not None:
        if not re.fullmatch(r"[0-9a-f]{64}", public_key.strip().lower()):
            raise InvalidInput(f"--public-key must be 64 hexadecimal digits, got {public_key!r}.")
        return public_key.strip().lower(), "the command line"
    if url is not None:
        return meet(access_to(url, key))[0].public_key, f"the service at {url}"
    return certificate.public_key, "the certificate itself: consistent, but anyone could have signed it"


def meet(access: Access) -> tuple[ModelCard, UsageResponse]:
    """The teacher that is served, and the key's account."""

    async def run() -> tuple[ModelCard, UsageResponse]:
        async with TeacherClient(access) as client:
            return await client.model(), await client.usage()

    return asyncio.run(run())


def quote(
    transfer_set: TransferSet,
    access: Access,
    patience: Patience = Patience(),
    purpose: Purpose = TRAINING,
) -> Quote:
    """What a fetch would cost; see :func:`student_trainer.acquire.quote.ask_for_quote`."""

    async def run() -> Quote:
        async with TeacherClient(access, patience=patience) as client:
            return await ask_for_quote(transfer_set, client, access.url, purpose)

    return asyncio.run(run())


def ledger(access: Access) -> tuple[list[Link], SignedHead]:
    """The key's whole chain and its signed head, unchecked."""

    async def run() -> tuple[list[Link], SignedHead]:
        async with TeacherClient(access) as client:
            return await client.chain()

    return asyncio.run(run())


def fetch(
    transfer_set: TransferSet,
    access: Access,
    terms: Quote,
    settings: FetchSettings,
    *,
    on_progress: Callable[[int, Outcome], None],
    on_wait: Callable[[str, float], None],
) -> Outcome:
    """Pin the teacher and fetch what is missing. The first SIGINT or SIGTERM waits for what is on its way.

    Raises:
        TrainerError: see :meth:`student_trainer.acquire.fetch.Fetch.run`.
    """

    async def run() -> Outcome:
        stop = StopSignal()
        pacer = Pacer(sleep=stop.sleep)
        async with TeacherClient(
            access,
            patience=settings.patience,
            connections=settings.concurrency,
            pacer=pacer,
            on_wait=on_wait,
        ) as client:
            work = Fetch(transfer_set, client, terms, stop, batch=settings.batch, on_progress=on_progress)
            if threading.current_thread() is threading.main_thread():
                for number in (signal.SIGINT, signal.SIGTERM):
                    asyncio.get_running_loop().add_signal_handler(number, work.interrupt)
            return await work.run(settings.concurrency)

    # Before the first query is spent, so that no later run can mix two teachers.
    transfer_set.set_teacher(terms.teacher)
    return asyncio.run(run())
