"""The results of the acquiring verbs: for each a plain JSON object and its text for people.

In: what a verb found or did. Out: (result, text), for :func:`student_trainer.output.emit`. No I/O.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from shared.budgets import budget_text, moment_text, until_text
from shared.certificate import Certificate
from shared.protocol import UsageResponse
from student_trainer.acquire.audit import Verification
from student_trainer.acquire.fetch import Outcome
from student_trainer.acquire.named_files import named_files
from student_trainer.acquire.plan import Choice, Inventory
from student_trainer.acquire.public_pipelines import Demand
from student_trainer.acquire.quote import revoked
from student_trainer.acquire.records import Summary

NAMED_FILES = 20
"""Files named in a text; ``--json`` names all."""

Result: TypeAlias = tuple[dict[str, Any], str]


def of_plan(
    inventory: Inventory, choice: Choice, usage: UsageResponse | None, asked: Demand | None = None
) -> Result:
    """What ``plan`` found and chose; and what an objective would ask for, beside it."""
    facts = choice.facts
    missing, to_send = len(choice.missing), sum(image.bytes for image in choice.missing)
    result = {
        "listed": inventory.listed,
        "unread": inventory.unread,
        "candidates": len(inventory.candidates),
        "duplicates": {str(path): str(first) for path, first in inventory.duplicates.items()},
        "skipped": {str(path): reason for path, reason in inventory.skipped.items()},
        "near_duplicates": {str(one.path): str(other.path) for one, other in choice.near_duplicates.items()},
        "dropped_near_duplicates": facts.dropped_near_duplicates,
        "avoidable_queries": choice.avoidable,
        **facts.document(),
        "chosen": len(choice.chosen),
        "added": len(choice.added),
        "queries": missing,
        "bytes": to_send,
        "remaining": usage.remaining if usage else None,
        "budget": usage.budget if usage else None,
        "window": usage.window if usage else None,
        "window_ends_at_ms": usage.window_ends_at_ms if usage else None,
        "revoked": usage.revoked if usage else None,
        "objective": asked.document() if asked else None,
    }
    kept = len(choice.chosen) - len(choice.added)
    before = f", of which {kept:,} were chosen before" if kept else ""
    unread = f" ({inventory.unread:,} not opened)" if inventory.unread else ""
    lines = [
        f"{facts.source}: {inventory.listed:,} files listed{unread}, {len(inventory.candidates):,} distinct "
        f"readable images, {len(inventory.duplicates):,} exact duplicates, "
        f"{len(inventory.skipped):,} skipped.",
        *_named("Skipped", inventory.skipped),
        *_near_duplicates(choice),
        f"Chosen: {len(choice.chosen):,} images ({facts.way[0]}, seed {facts.seed}){before}; "
        f"{missing:,} queries to spend, {to_send / 1e6:,.1f} MB to send.",
        *([asked.text()] if asked else []),
        _account(usage, missing),
    ]
    return result, "\n".join(lines)


def of_fetch(outcome: Outcome, summary: Summary, refusals: Mapping[Path, str], run: Path) -> Result:
    """What ``fetch`` spent, what is held now, and which planned images the teacher refused, now or before."""
    result = {
        "charged": outcome.charged,
        "replayed": outcome.replayed,
        "requests": outcome.requests,
        "remaining": outcome.remaining,
        "charged_in_all": summary.charged,
        "chosen": summary.chosen,
        "bought": summary.bought,
        "missing": summary.missing,
        "planned": summary.planned,
        "complete": summary.complete,
        "refused": {str(path): reason for path, reason in refusals.items()},
        "changed": {str(path): reason for path, reason in outcome.changed.items()},
        "interrupted": outcome.interrupted,
        "exhausted_until_ms": outcome.exhausted_until_ms,
    }
    left = "" if outcome.remaining is None else f"; {outcome.remaining:,} left on the key"
    lines = [
        f"Charged {outcome.charged:,} queries, {outcome.replayed:,} delivered again free{left}. "
        f"Held: {summary.bought:,} of {summary.chosen:,} descriptors, {summary.charged:,} queries in all.",
        *_named("Refused by the teacher, not charged (plan again to choose others)", refusals),
        *_named("Left out, nothing spent on them", outcome.changed),
    ]
    if summary.complete:
        but = f" but for {summary.refused:,} refused: held {summary.bought:,} of {summary.planned:,} planned"
        lines.append(f"Complete{but if summary.refused else ''}. Next: student-trainer train --run {run}")
    return result, "\n".join(lines)


def exhausted(summary: Summary, until_ms: int) -> str:
    """Why ``fetch`` ended before all was bought, and when it can go on."""
    return (
        f"This window of the key's budget is spent: {summary.missing:,} descriptors are missing, more can "
        f"be bought from {moment_text(until_ms)}. Run the same command again then; nothing is paid twice."
    )


def of_audit(certificate: Certificate, path: Path) -> Result:
    """What ``audit`` certified."""
    result = {
        "certificate": str(path),
        "statement": certificate.statement,
        "queries_charged": certificate.queries_charged,
        "replays": certificate.replays,
        "budget": certificate.budget,
        "window": certificate.window,
        "images": certificate.images,
        "teacher_revision": certificate.teacher_revision,
        "public_key": certificate.public_key,
    }
    return result, f"{certificate.statement}\nThe ledger, the receipts and the descriptors agree: {path}"


def of_verify(found: Verification, transfer_set: Path | None) -> Result:
    """What ``verify`` established."""
    account = found.verified.account
    result = {
        "valid": True,
        "statement": found.verified.statement,
        "queries_charged": account.used,
        "budget": account.budget,
        "window": account.window,
        "images": found.verified.images,
        "teacher_revision": found.verified.teacher_revision,
        "public_key": found.public_key,
        "key_source": found.key_source,
        "transfer_set": str(transfer_set) if transfer_set else None,
    }
    lines = [found.verified.statement, f"Valid, by public key {found.public_key} from {found.key_source}."]
    if transfer_set:
        lines.append(f"It certifies the descriptors in {transfer_set}.")
    return result, "\n".join(lines)


def _near_duplicates(choice: Choice) -> list[str]:
    """How many, the first few, and what leaving them out saves."""
    found = choice.near_duplicates
    if not found:
        return []
    lines = _named(
        "Near-duplicates", {one.path: f"shows nearly what {other.path} shows" for one, other in found.items()}
    )
    if choice.facts.dropped_near_duplicates:
        return [*lines, "They are left out (--drop-near-duplicates)."]
    return [
        *lines,
        f"{choice.avoidable:,} queries of this plan go to such images: --drop-near-duplicates spends them "
        "on others.",
    ]


def _account(usage: UsageResponse | None, missing: int) -> str:
    if usage is None:
        return "Nothing was spent. Give --url and --key to see what the key has left."
    if usage.revoked:
        return f"Nothing was spent. Key {usage.key_id} was revoked: {revoked()}"
    left = f"{usage.remaining:,} of {usage.budget:,} queries left{until_text(usage.window_ends_at_ms)}"
    return f"Nothing was spent. Key {usage.key_id} has {left}{_short(usage, missing)}."


def _short(usage: UsageResponse, missing: int) -> str:
    later = missing - usage.remaining
    if usage.window == "total":
        return f": {later:,} too few for this plan" if later > 0 else ""
    budget = f" (its budget is {budget_text(usage.budget, usage.window)})"
    if later <= 0 or usage.budget == 0:
        return budget
    windows = -(-later // usage.budget)
    spans = f"a later {usage.window}" if windows == 1 else f"{windows:,} later {usage.window}s"
    return f"{budget}: {later:,} of this plan must wait for {spans}"


def _named(title: str, files: Mapping[Path, str]) -> list[str]:
    return named_files(title, files, shown=NAMED_FILES, elsewhere="--json names all")
