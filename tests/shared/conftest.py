"""A small ledger, written with nothing but what both sides share, to test chains and certificates on."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from nacl.signing import SigningKey

from shared.chain import (
    ZERO_HASH,
    Account,
    Billing,
    Genesis,
    Grant,
    Item,
    Link,
    Revoke,
    Settle,
    Window,
    link,
    verify_chain,
)
from shared.receipts import LedgerHead, Receipt, SignedHead, SignedReceipt, delivery_digest


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Story:
    """One key's life; each method appends an event, and ``settle`` keeps the receipt too."""

    budget: int = 10
    billing: Billing = "distinct"
    window: Window = "total"
    key_id: str = "3f2a"
    signing_key: SigningKey = field(default_factory=lambda: SigningKey(bytes(range(32))))
    links: list[Link] = field(default_factory=list)
    receipts: list[SignedReceipt] = field(default_factory=list)
    used: int = 0
    now_ms: int | None = None
    """The moment of the next events; None for one millisecond after the other."""

    def __post_init__(self) -> None:
        rules = {"budget": self.budget, "window": self.window, "billing": self.billing}
        self._append(Genesis.model_validate({**self._next(), "name": "a", **rules}))

    @property
    def public_key(self) -> str:
        return bytes(self.signing_key.verify_key).hex()

    @property
    def account(self) -> Account:
        return verify_chain(self.links)

    def grant(self, amount: int) -> Link:
        self.budget += amount
        return self._append(Grant(**self._next(), amount=amount, budget_after=self.budget))

    def revoke(self) -> Link:
        return self._append(Revoke(**self._next()))

    def settle(
        self, charged: Sequence[str], replayed: Sequence[str] = (), *, revision: str = digest("teacher")
    ) -> Link:
        """Images by name; the descriptor of an image is a function of it and the revision."""
        self.used += len(charged)
        items = tuple(
            Item(image=digest(name), descriptor=digest(name + revision), charged=name in charged)
            for name in (*charged, *replayed)
        )
        event = Settle(
            **self._next(),
            request_id=f"request {len(self.links)}",
            teacher_revision=revision,
            charged=len(charged),
            replayed=len(replayed),
            used_after=self.used,
            items=items,
        )
        appended = self._append(event)
        self.receipts.append(SignedReceipt.by(self.signing_key, self.receipt_of(event, appended)))
        return appended

    def receipt_of(self, event: Settle, appended: Link, **changes: object) -> Receipt:
        stated = {
            "key_id": event.key_id,
            "request_id": event.request_id,
            "seq": event.seq,
            "charged": event.charged,
            "replayed": event.replayed,
            "used_after": event.used_after,
            "budget": self.budget,
            "ledger_head": appended.hash,
            "teacher_revision": event.teacher_revision,
            "delivery_digest": delivery_digest(event.items),
            "issued_at_ms": event.at_ms,
        }
        return Receipt.model_validate({**stated, **changes})

    def head(self, **changes: object) -> SignedHead:
        account = self.account
        stated = {
            "key_id": account.key_id,
            "seq": account.seq,
            "ledger_head": account.head,
            "used": account.used,
            "budget": account.budget,
            "teacher_revision": digest("teacher"),
            "issued_at_ms": 99,
        }
        return SignedHead.by(self.signing_key, LedgerHead.model_validate({**stated, **changes}))

    def _next(self) -> dict[str, object]:
        at_ms = 1 + len(self.links) if self.now_ms is None else self.now_ms
        return {"key_id": self.key_id, "seq": len(self.links), "at_ms": at_ms}

    def _append(self, event: Genesis | Grant | Revoke | Settle) -> Link:
        self.links.append(link(event, self.links[-1].hash if self.links else ZERO_HASH))
        return self.links[-1]


@pytest.fixture
def story() -> Callable[..., Story]:
    """``story(budget=..., billing=...)`` begins one."""
    return Story


@pytest.fixture
def busy_story() -> Story:
    """Buys four images in two requests, repeats two, and is granted more in between."""
    story = Story(budget=3)
    story.settle(["a", "b"])
    story.grant(2)
    story.settle(["c", "d"], ["a"])
    story.settle([], ["b"])
    return story
