"""Spending where a person watches: the question beforehand, and the bar meanwhile.

In: the terms of a fetch, which were shown. Out: an agreement and what was fetched, or
:class:`~student_trainer.errors.Interrupted`. For the commands that buy, to learn from or to measure with.
"""

import sys

import typer

from student_trainer.acquire import session
from student_trainer.acquire.client import Access
from student_trainer.acquire.fetch import Outcome
from student_trainer.acquire.quote import Quote
from student_trainer.acquire.session import FetchSettings
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.errors import Interrupted, InvalidInput
from student_trainer.progress import progress


def ask_for_yes(yes: bool) -> None:
    """Let the user agree to a cost that was shown.

    Raises:
        InvalidInput: nobody can be asked, and ``--yes`` was not given.
        Interrupted: not agreed to.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidInput("Spending needs a yes: run it on a terminal, or with --yes. Nothing was spent.")
    try:
        agreed = typer.confirm("Spend them?", err=True)
    except typer.Abort:  # Ctrl-C or the end of the input at the question
        agreed = False
    if not agreed:
        raise Interrupted("Not agreed to: nothing was spent.")


def fetch_with_progress(
    transfer_set: TransferSet, access: Access, terms: Quote, settings: FetchSettings
) -> Outcome:
    """Fetch what is missing, with a bar; raises as :func:`student_trainer.acquire.session.fetch`."""
    before = transfer_set.summary()
    with progress("Fetching", before.chosen, "descriptors", done=before.bought) as bar:

        def advance(images: int, outcome: Outcome) -> None:
            bar.advance(images, f"spent {outcome.charged:,}, left {outcome.remaining:,}")

        def wait(reason: str, wait_s: float) -> None:
            bar.advance(0, f"waiting {wait_s:.1f} s: {reason}")

        return session.fetch(transfer_set, access, terms, settings, on_progress=advance, on_wait=wait)
