"""What a fetch will cost, known before anything is spent.

In: a transfer set and a connection. Out: the teacher's identity, pinned or compared; the number of queries
that are still to be paid, exact even when answers were lost on their way; or the refusal to begin.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.budgets import budget_text, moment_text, until_text
from shared.chain import ChainBroken, Link, Settle, parse_event, verify_chain
from shared.protocol import ModelLimits, UsageResponse
from shared.receipts import BadReceipt
from student_trainer.acquire.answers import check_same, introduce
from student_trainer.acquire.client import TeacherClient
from student_trainer.acquire.outbox import Outbox
from student_trainer.acquire.purpose import TRAINING, Purpose
from student_trainer.acquire.records import Teacher
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.errors import BudgetTooSmall, InvalidInput, ServiceRefused, VerificationFailed


@dataclass(frozen=True)
class Quote:
    """The terms of a fetch."""

    teacher: Teacher
    limits: ModelLimits
    usage: UsageResponse
    missing: int
    """Descriptors that are still to be fetched."""
    paid_images: frozenset[str]
    """Those of them that the key has paid for already: they are delivered again, for free."""
    bytes_missing: int
    elsewhere: int = 0
    """Images that the key was charged for outside this transfer set; with them the audit fails."""
    purpose: Purpose = TRAINING

    @property
    def paid(self) -> int:
        """How many of the missing descriptors are paid for."""
        return len(self.paid_images)

    @property
    def cost(self) -> int:
        """Queries that the fetch will charge."""
        return self.missing - self.paid

    @property
    def is_windowed(self) -> bool:
        """The budget renews itself each hour or day: a fetch may go on later."""
        return self.usage.window != "total"

    @property
    def cost_now(self) -> int:
        """Queries that the current window of the budget can pay."""
        return min(self.cost, self.usage.remaining)

    def result(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "missing": self.missing,
            "paid": self.paid,
            "cost": self.cost,
            "cost_now": self.cost_now,
            "bytes": self.bytes_missing,
            "charged_elsewhere": self.elsewhere,
            "remaining": self.usage.remaining,
            "budget": self.usage.budget,
            "window": self.usage.window,
            "window_ends_at_ms": self.usage.window_ends_at_ms,
            "teacher_revision": self.teacher.revision,
        }

    def text(self, path: Path) -> str:
        """For people."""
        warns = self.elsewhere and self.purpose.is_audited
        warning = (
            f"\nThis key was charged for {self.elsewhere:,} images that are not in this transfer set; "
            "the audit will not certify it. Use a key of its own for each run folder."
        )
        free = f" ({self.paid:,} more were paid for before and are delivered free)" if self.paid else ""
        return (
            f"{path}: {self.missing:,} descriptors to fetch, {self.bytes_missing / 1e6:,.1f} MB to send,\n"
            f"from {self.teacher.model} ({self.teacher.dim}-d, revision {self.teacher.revision[:12]}) "
            f"at {self.teacher.url}.\nThis will spend {self.cost_now:,} queries{free} "
            f"of the {self.usage.remaining:,} that key {self.usage.key_id} has left{self._window_text()}."
            f"{warning if warns else ''}"
        )

    def _window_text(self) -> str:
        if self.usage.window_ends_at_ms is None:
            return ""
        later = self.cost - self.cost_now
        budget = budget_text(self.usage.budget, self.usage.window)
        rest = f"; {later:,} more must wait: run the same command again then" if later else ""
        return f"{until_text(self.usage.window_ends_at_ms)} (its budget is {budget}){rest}"


def revoked(purpose: Purpose = TRAINING) -> str:
    """What a revoked key means, and the next step."""
    return f"it buys nothing more. Ask the teacher's owner for a new one; with it, {purpose.anew}."


async def ask_for_quote(
    transfer_set: TransferSet, client: TeacherClient, url: str, purpose: Purpose = TRAINING
) -> Quote:
    """Meet the teacher and work out the cost; spends nothing and changes nothing.

    Raises:
        RevisionChanged, InvalidInput, VerificationFailed: not the teacher or key of this transfer set.
        BudgetTooSmall: the key cannot pay for what is missing.
        ServiceRefused: unreachable, or the API key is not accepted, or was revoked.
    """
    model, usage = await client.model(), await client.usage()
    teacher = introduce(url, model, usage)
    pinned = transfer_set.teacher
    if pinned is not None:
        check_same(teacher, pinned, purpose)
    if usage.revoked:
        raise ServiceRefused(f"Nothing was spent: key {usage.key_id} was revoked, {revoked(purpose)}")
    outbox, summary = Outbox(transfer_set), transfer_set.summary()
    open_requests = outbox.unanswered()
    paid, elsewhere = frozenset[str](), 0
    if open_requests or usage.remaining < summary.missing or usage.used > summary.charged:
        links, charged = await _ledger(client, teacher)
        paid = _paid(transfer_set, links, charged, teacher)
        elsewhere = len(charged - {image.digest for image in transfer_set.chosen()})
    quote = Quote(
        teacher, model.limits, usage, summary.missing, paid, summary.bytes_missing, elsewhere, purpose
    )
    # A hold may be that of a request which the last, killed fetch left in the service's hands.
    uncertain = sum(len(request.images) for request in open_requests)
    affordable = usage.remaining + min(usage.held, uncertain)
    can_begin = quote.is_windowed and (affordable > 0 or quote.paid > 0)
    if quote.cost > affordable and not can_begin:
        raise BudgetTooSmall(_too_small(quote))
    return quote


def _too_small(quote: Quote) -> str:
    usage, purpose = quote.usage, quote.purpose
    next_step = f"Ask the teacher's owner for a grant, or {purpose.fewer}."
    if usage.window_ends_at_ms is not None and usage.budget > 0:
        next_step = (
            f"Its budget is {budget_text(usage.budget, usage.window)}: run the same command again from "
            f"{moment_text(usage.window_ends_at_ms)}, or ask the teacher's owner for a grant."
        )
    return (
        f"{purpose.buyer} still needs {quote.cost:,} queries; key {usage.key_id} has {usage.remaining:,} of "
        f"{usage.budget:,} left. Nothing was spent. {next_step}"
    )


async def _ledger(client: TeacherClient, teacher: Teacher) -> tuple[list[Link], set[str]]:
    """The key's checked records, and the images that they charge for descriptors of this revision."""
    links, head = await client.chain()
    try:
        head.verify(teacher.public_key)
        charged = verify_chain(links).charged_images
    except (BadReceipt, ChainBroken) as error:
        raise VerificationFailed(f"The service's ledger does not hold: {error} Nothing was spent.") from None
    return links, {image for revision, image in charged if revision == teacher.revision}


def _paid(
    transfer_set: TransferSet, links: list[Link], charged: set[str], teacher: Teacher
) -> frozenset[str]:
    """Those of the missing images that the ledger shows as charged to this key and revision."""
    outbox = Outbox(transfer_set)
    open_requests = outbox.unanswered()
    if teacher.billing == "distinct":
        missing = frozenset(image.digest for image in outbox.unassigned())
        return missing.union(*(request.digests for request in open_requests)) & frozenset(charged)
    # Billed per call: only the very same request, with its idempotency key, is free.
    known = {receipt.body.seq for receipt in transfer_set.receipts()}
    events = [parse_event(link.record, seq) for seq, link in enumerate(links)]
    answered = [
        [item.image for item in event.items]
        for event in events
        if isinstance(event, Settle) and event.seq not in known and event.teacher_revision == teacher.revision
    ]
    repeated = [request.digests for request in open_requests if request.digests in answered]
    return frozenset(image for images in repeated for image in images)


def request_size(batch: int, quote: Quote) -> int:
    """Images in one request: what was asked for, within the service's limit, the key's rate and its window.

    Raises:
        InvalidInput: less than one.
    """
    if batch < 1:
        raise InvalidInput(f"--batch must be at least 1, got {batch}.")
    amount = quote.usage.rate.split("/")[0].split(" ")[0]
    rate = int(amount) if amount.isdigit() and int(amount) > 0 else batch
    window = quote.usage.budget if quote.is_windowed else batch
    return max(1, min(batch, quote.limits.max_images_per_request, rate, window))
