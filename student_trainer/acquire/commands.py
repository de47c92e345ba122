"""The verbs ``fetch``, ``audit`` and ``verify``: from a plan to a certified transfer set.

In: command-line options, the environment's ``TEACHER_URL`` and ``TEACHER_API_KEY``. Out: results on
standard output, everything else on standard error. Heavy modules are imported when a verb runs.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from student_trainer.errors import INTERRUPTED, BudgetTooSmall, InvalidInput
from student_trainer.output import emit
from student_trainer.run_folder import RunFolder, transfer_set_file

Run = Annotated[Path, typer.Option("--run", metavar="DIR", help="The run folder.")]
Url = Annotated[
    str | None, typer.Option("--url", envvar="TEACHER_URL", help="Address of the teacher service.")
]
Key = Annotated[
    str | None,
    typer.Option("--key", envvar="TEACHER_API_KEY", help="API key; better set in the environment."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]


def fetch(
    *,
    run: Run,
    url: Url = None,
    key: Key = None,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Requests on their way at once.")] = 4,
    batch: Annotated[int, typer.Option(min=1, help="Images in a request.")] = 16,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for an answer.")] = 300.0,
    patience: Annotated[float, typer.Option(min=0.0, help="Seconds a request may go on failing.")] = 900.0,
    yes: Annotated[bool, typer.Option("--yes", help="Spend without asking.")] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Buy the descriptors that are missing. Stop it in any way; run it again and it continues.

    Exit codes: 0 complete; 2 files changed since the plan, or the teacher refused planned images (all others
    are bought); 3 the key cannot pay, or not before the next window of its budget; 4 the service refused; 5
    the teacher changed; 6 disk; 7 an answer does not hold; 130 interrupted, or not agreed to.
    """
    from student_trainer.acquire import session
    from student_trainer.acquire.client import Patience
    from student_trainer.acquire.fetch import Outcome
    from student_trainer.acquire.spending import ask_for_yes, fetch_with_progress
    from student_trainer.acquire.summaries import exhausted, of_fetch
    from student_trainer.acquire.transfer_set import TransferSet
    from student_trainer.lock import exclusive

    folder = RunFolder.existing(run)
    settings = session.FetchSettings(concurrency, batch, Patience(read_s=timeout, give_up_after_s=patience))
    with exclusive(folder), TransferSet.open(folder.transfer_set) as transfer_set:
        outcome = Outcome()
        if not transfer_set.summary().complete:
            access = session.access_to(url, key, transfer_set)
            terms = session.quote(transfer_set, access, settings.patience)
            print(terms.text(folder.transfer_set), file=sys.stderr)
            if dry_run:
                emit(terms.result(), "Nothing was spent (--dry-run).", as_json=json)
                return
            ask_for_yes(yes)
            outcome = fetch_with_progress(transfer_set, access, terms, settings)
        summary, refusals = transfer_set.summary(), transfer_set.refusals()
    emit(*of_fetch(outcome, summary, refusals, run), as_json=json)
    if outcome.interrupted and not summary.complete:
        print(
            f"Interrupted: {summary.charged:,} queries spent in all, {summary.missing:,} descriptors "
            "missing. The same command continues; nothing is paid twice.",
            file=sys.stderr,
        )
        raise typer.Exit(INTERRUPTED)
    if outcome.exhausted_until_ms is not None and not summary.complete:
        raise BudgetTooSmall(exhausted(summary, outcome.exhausted_until_ms))
    if outcome.changed:
        raise InvalidInput(
            f"{len(outcome.changed):,} files are not what was planned, the first "
            f"{next(iter(outcome.changed))}. Nothing was spent on them. Put them back and run fetch again, "
            "or plan again to choose others."
        )
    if refusals:
        # Named in the result already; and no exception, because what can be bought is there to be used.
        raise typer.Exit(InvalidInput.exit_code)


def audit(*, run: Run, url: Url = None, key: Key = None, json: Json = False) -> None:
    """Check what was bought against the service's ledger, and write the budget certificate."""
    from student_trainer.acquire import audit as auditing
    from student_trainer.acquire import session
    from student_trainer.acquire.summaries import of_audit
    from student_trainer.acquire.transfer_set import TransferSet
    from student_trainer.lock import exclusive

    folder = RunFolder.existing(run)
    with exclusive(folder), TransferSet.open(folder.transfer_set) as transfer_set:
        links, head = session.ledger(session.access_to(url, key, transfer_set))
        certificate = auditing.audit(transfer_set, links, head)
    auditing.write_certificate(certificate, folder.certificate)
    emit(*of_audit(certificate, folder.certificate), as_json=json)


def verify(
    certificate: Annotated[
        Path | None, typer.Argument(metavar="[CERTIFICATE]", help="Default: that of --run.")
    ] = None,
    *,
    run: Annotated[
        Path | None, typer.Option("--run", metavar="DIR", help="Take certificate and transfer set from here.")
    ] = None,
    public_key: Annotated[
        str | None,
        typer.Option("--public-key", metavar="HEX", help="The service's key, as its owner states it."),
    ] = None,
    transfer_set: Annotated[
        Path | None,
        typer.Option("--transfer-set", metavar="RUN|FILE", help="Also check that it certifies this."),
    ] = None,
    url: Annotated[str | None, typer.Option("--url", help="Ask this service for its key.")] = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Check a certificate, offline if --public-key is given.

    Without --public-key or --url the key is taken from the certificate itself: then only its consistency is
    established, not who issued it.
    """
    from contextlib import nullcontext

    from student_trainer.acquire import audit as auditing
    from student_trainer.acquire.session import trusted_key
    from student_trainer.acquire.summaries import of_verify
    from student_trainer.acquire.transfer_set import TransferSet

    folder = RunFolder.existing(run) if run else None
    path = certificate or (folder.certificate if folder else None)
    if path is None:
        raise InvalidInput("Name a certificate, or a run folder with --run.")
    bought = transfer_set or run
    held = transfer_set_file(bought) if bought else None
    document = auditing.read_certificate(path)
    trusted, source = trusted_key(document, public_key, url, key)
    with TransferSet.open(held) if held else nullcontext() as opened:
        found = auditing.verify(document, trusted, source, opened)
    emit(*of_verify(found, held), as_json=json)
