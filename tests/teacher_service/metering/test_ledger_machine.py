"""The ledger, on either store, against a model of a few lines, through any sequence of events and crashes.

After every step: invariant 1 (used + held <= budget), invariant 3 (used = charged images = the sum of the
events), and a chain that verifies.
"""

import itertools
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis_process import RedisProcess

from shared.chain import Billing, Window, window_index
from teacher_service.metering.auditing.verify import verify_store
from teacher_service.metering.ledger import (
    BudgetExhausted,
    Hold,
    HoldExpired,
    IdempotencyMismatch,
    InFlight,
    KeyRevoked,
    LedgerError,
    Settlement,
)

LEASE_MS = 1000
HOUR_MS = 3_600_000
EXAMPLES = int(os.environ.get("RATION_LEDGER_EXAMPLES", "40"))

# Few of each, so that requests meet: the interesting cases are the collisions.
bodies = st.sampled_from([("a",), ("b",), ("a", "b"), ("b", "c", "d")])
billings: st.SearchStrategy[Billing] = st.sampled_from(["distinct", "every-call"])
revisions = st.sampled_from(["old", "old", "new"])
idempotency_keys = st.sampled_from([None, None, "i", "j"])
LATE = 12
"""Revocations end a key's story: not before this many steps."""


@dataclass
class Held:
    images: tuple[str, ...]
    pays: frozenset[str]
    revision: str
    expires_at_ms: int
    idem: str | None
    replays_a_call: bool


@dataclass
class Model:
    """What a key must look like."""

    billing: str
    window: Window
    budget: int
    by_window: Counter[int] = field(default_factory=Counter)
    charges: Counter[tuple[str, str]] = field(default_factory=Counter)
    holds: dict[str, Held] = field(default_factory=dict)
    settled_calls: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """(idempotency key, revision) -> its images."""
    replayed: int = 0
    revoked: bool = False

    @property
    def used(self) -> int:
        return self.charges.total()

    def used_in_window(self, now_ms: int) -> int:
        return self.by_window[window_index(self.window, now_ms)]

    def live(self, now_ms: int) -> dict[str, Held]:
        return {name: held for name, held in self.holds.items() if held.expires_at_ms > now_ms}

    def calls_in_flight(self, now_ms: int) -> dict[tuple[str, str], tuple[str, ...]]:
        live = self.live(now_ms).values()
        return {
            (held.idem, held.revision): held.images for held in live if held.idem and not held.replays_a_call
        }

    def reserve(
        self, wanted: tuple[str, ...], revision: str, idem: str | None, now_ms: int
    ) -> frozenset[str] | type[LedgerError]:
        """The images to pay for, or the refusal."""
        if self.revoked:
            return KeyRevoked
        call, in_flight = (idem or "", revision), self.calls_in_flight(now_ms)
        body = in_flight.get(call) or self.settled_calls.get(call)
        if body is not None and body != wanted:
            return IdempotencyMismatch
        if call in in_flight:
            return InFlight
        repeated = call in self.settled_calls
        new = frozenset(image for image in wanted if not self.charges[revision, image])
        pays = frozenset(wanted) if self.billing == "every-call" and not repeated else new
        others = self.live(now_ms).values()
        if self.billing == "distinct" and any(h.pays & pays for h in others if h.revision == revision):
            return InFlight
        if self.used_in_window(now_ms) + sum(len(held.pays) for held in others) + len(pays) > self.budget:
            return BudgetExhausted
        return pays


class LedgerMachine(RuleBasedStateMachine):
    keys: Bundle[str] = Bundle("keys")
    holds: Bundle[Hold] = Bundle("holds")

    def __init__(self, stage: "Stage", clock: Any) -> None:
        super().__init__()
        self._stage, self._clock = stage, clock
        self._steps = 0
        self._models: dict[str, Model] = {}
        self._desk = stage.open()

    @initialize(
        target=keys,
        budgets=st.tuples(st.integers(0, 8), st.integers(2, 8), st.integers(1, 3)),
        billing=billings,
    )
    def create_keys(self, budgets: tuple[int, int, int], billing: Billing) -> Any:
        kinds: list[tuple[Billing, Window]] = [
            ("distinct", "total"),
            ("every-call", "total"),
            (billing, "hour"),
        ]
        for budget, (billing, window) in zip(budgets, kinds, strict=True):
            key_id = self._desk.new_key(budget, billing, window=window)
            self._models[key_id] = Model(billing, window, budget)
        return multiple(*self._models)

    @rule(target=holds, key_id=keys, names=bodies, revision=revisions, idem=idempotency_keys)
    def reserve(self, key_id: str, names: tuple[str, ...], revision: str, idem: str | None) -> Any:
        model = self._models[key_id]
        expected = model.reserve(names, revision, idem, self._clock())
        try:
            hold: Hold = self._desk.reserve(key_id, *names, revision=revision, idem=idem)
        except LedgerError as error:
            assert type(error) is expected, (error, expected)
            return multiple()
        by_name = dict(zip(names, hold.reservation.images, strict=True))
        assert hold.charged_images == {by_name[name] for name in expected}  # type: ignore[union-attr]
        repeats = (idem, revision) in model.settled_calls
        pays = frozenset(expected)  # type: ignore[arg-type]
        model.holds[hold.hold_id] = Held(names, pays, revision, hold.expires_at_ms, idem, repeats)
        return hold

    @rule(hold=holds)
    def settle(self, hold: Hold) -> None:
        model = self._models[hold.reservation.key_id]
        held = model.live(self._clock()).get(hold.hold_id)
        expected = KeyRevoked if model.revoked else HoldExpired if held is None else Settlement
        try:
            settlement: Settlement = self._desk.settle(hold)
        except LedgerError as error:
            assert type(error) is expected, (error, expected)
            return
        assert expected is Settlement and held is not None
        del model.holds[hold.hold_id]
        model.charges.update((held.revision, image) for image in held.pays)
        model.by_window[window_index(model.window, self._clock())] += len(held.pays)
        model.replayed += len(held.images) - len(held.pays)
        if held.idem and not held.replays_a_call:
            model.settled_calls[held.idem, held.revision] = held.images
        assert settlement.charged == len(held.pays)
        assert settlement.replayed == len(held.images) - len(held.pays)
        assert settlement.used_after == model.used

    @rule(hold=holds)
    def release(self, hold: Hold) -> None:
        self._desk.release(hold)
        self._models[hold.reservation.key_id].holds.pop(hold.hold_id, None)

    @rule(key_id=keys, amount=st.integers(1, 4))
    def grant(self, key_id: str, amount: int) -> None:
        model = self._models[key_id]
        try:
            self._desk.run(self._desk.ledger.grant(key_id, amount))
        except KeyRevoked:
            assert model.revoked
        else:
            assert not model.revoked
            model.budget += amount

    @precondition(lambda self: self._steps > LATE)
    @rule(key_id=keys)
    def revoke(self, key_id: str) -> None:
        self._desk.run(self._desk.ledger.revoke(key_id))
        self._models[key_id].revoked = True
        self._models[key_id].holds.clear()

    @rule(passed_ms=st.sampled_from([1, LEASE_MS // 2, LEASE_MS, HOUR_MS]))
    def time_passes(self, passed_ms: int) -> None:
        self._clock.now_ms += passed_ms

    @rule()
    def sweep(self) -> None:
        self._desk.run(self._desk.ledger.sweep())
        for key_id, model in self._models.items():
            model.holds = model.live(self._clock())
            assert self._desk.account(key_id).held == sum(len(held.pays) for held in model.holds.values())

    @rule()
    def crash(self) -> None:
        self._desk = self._stage.crash(self._desk)
        for model in self._models.values():
            model.holds = {
                name: held for name, held in model.holds.items() if self._stage.outlives_a_crash(held)
            }

    @invariant()
    def the_ledger_is_sound_and_as_modelled(self) -> None:
        self._steps += 1
        verified = self._desk.run(verify_store(self._desk.ledger))
        for account in verified.accounts:
            key, model = self._desk.account(account.key_id), self._models[account.key_id]
            assert key.used_in_window + key.held <= key.budget
            assert key.used_in_window == model.used_in_window(self._clock())
            assert (key.used, key.budget, key.revoked) == (model.used, model.budget, model.revoked)
            assert (account.used, account.replayed) == (model.used, model.replayed)
            live = sum(len(held.pays) for held in model.live(self._clock()).values())
            kept = sum(len(held.pays) for held in model.holds.values())
            assert live <= key.held <= kept

    def teardown(self) -> None:
        self._desk.close()


class Stage(Protocol):
    """Where a ledger plays, and what is left of it after a crash."""

    def open(self) -> Any: ...

    def crash(self, desk: Any) -> Any:
        """Whoever served is dead; the desk of the next one."""

    def outlives_a_crash(self, held: Held) -> bool: ...


class SqliteStage:
    def __init__(self, make_desk: Callable[..., Any], clock: Any, folder: Path) -> None:
        self._make_desk, self._clock, self._folder = make_desk, clock, folder
        self._generation = 0

    @property
    def _path(self) -> Path:
        return self._folder / f"{self._generation}.sqlite"

    def open(self) -> Any:
        return self._make_desk(self._path, self._clock, lease_ms=LEASE_MS)

    def crash(self, desk: Any) -> Any:
        """What the disk holds at this instant is all that the next server finds."""
        old, self._generation = self._path, self._generation + 1
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{old}{suffix}", f"{self._path}{suffix}")
        desk.close()
        return self.open()

    def outlives_a_crash(self, held: Held) -> bool:
        return False  # the next owner of the file knows that the last one is dead


class RedisStage:
    def __init__(self, make_redis_desk: Callable[..., Any], clock: Any, server: RedisProcess) -> None:
        self._make_desk, self._clock, self._server = make_redis_desk, clock, server

    def open(self) -> Any:
        return self._make_desk(self._clock, lease_ms=LEASE_MS)

    def crash(self, desk: Any) -> Any:
        """The server is killed and finds its own files; the replica is killed, too: another one goes on."""
        self._server.kill()
        self._server.start()
        return self.open()

    def outlives_a_crash(self, held: Held) -> bool:
        """Until its lease ends, what the store was told of; a pure replay only the dead replica knew."""
        return bool(held.pays) or (held.idem is not None and not held.replays_a_call)


def play(stages: Callable[[], Stage], clock: Any, examples: int) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        lambda: LedgerMachine(stages(), clock),
        settings=settings(max_examples=examples, stateful_step_count=40),
    )


def test_the_sqlite_ledger_does_what_the_model_does(
    make_desk: Callable[..., Any], clock: Any, tmp_path: Path
) -> None:
    folders = itertools.count()

    def stage() -> Stage:
        folder = tmp_path / str(next(folders))
        folder.mkdir()
        return SqliteStage(make_desk, clock, folder)

    play(stage, clock, EXAMPLES)


def test_the_redis_ledger_does_what_the_model_does(
    make_redis_desk: Callable[..., Any], clock: Any, redis_server: RedisProcess
) -> None:
    def stage() -> Stage:
        with redis_server.client() as client:
            client.flushall()
        return RedisStage(make_redis_desk, clock, redis_server)

    play(stage, clock, EXAMPLES // 2)  # each crash restarts a server
