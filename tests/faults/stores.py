"""A service under fault tests: its folders, its ledger, its key, and its lives one after the other.

In: which store, and a zygote. Out: services, each on a port of its own, that die as told and rise again on
what they left.
"""

import random
import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.accounts import beside, reckon
from faults.crowd import Crowd
from faults.tally import Tally
from faults.zygote import START_S, Life, Zygote
from ports import port_of, reserve_port

from teacher_service.access.keys import mint
from teacher_service.metering.signing import KEY_FILE, ReceiptSigner

LEASE_MS = 1000
"""The shortest: a replica's death is repaired after that."""


@dataclass
class Replica:
    """One place where a service lives."""

    data_dir: Path
    reserved: socket.socket
    """Keeps its port while it is dead."""
    url: str
    zygote: Zygote
    changes: dict[str, Any]
    life: Life | None = None
    """The present one."""

    def __post_init__(self) -> None:
        self.port = port_of(self.reserved)

    @property
    def address(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self.port}"

    def live(self, point: str | None = None, passage: int = 1) -> Life:
        """Start it; it answers when this returns."""
        self.begin(point, passage).wait_until_it_serves()
        assert self.life is not None
        return self.life

    def begin(self, point: str | None = None, passage: int = 1) -> Life:
        """Start it, which may fail."""
        settings = {"data_dir": self.data_dir, "port": self.port, "ledger": self.url, "lease_ms": LEASE_MS}
        self.life = self.zygote.serve({**settings, "log_level": "error", **self.changes}, point, passage)
        return self.life

    def end(self) -> None:
        """An orderly end. Raises AssertionError if it was none."""
        assert self.life is not None
        status = self.life.end()
        assert status == 0, f"ended with {status}\n{self.life.errors}"

    def close(self) -> None:
        """However the test ended: nothing lives here any more, and the port is free."""
        if self.life is not None and self.life.is_alive:
            self.life.kill()
            self.life.wait(START_S)
        self.reserved.close()


@dataclass
class Estate:
    """The replicas that share one ledger and one signing key."""

    store: str
    url: str
    replicas: Sequence[Replica]
    public_key: str

    @property
    def addresses(self) -> list[str]:
        """Of all replicas."""
        return [replica.address for replica in self.replicas]

    def new_key(self, budget: int) -> str:
        """An API key."""
        text, new = mint("student", budget)
        beside(self.url, lambda ledger: ledger.create_key(new))
        return text

    def crowd(self, budget: int, tally: Tally, chance: random.Random, **options: Any) -> Crowd:
        """Clients of a fresh key."""
        return Crowd(self.addresses, self.new_key(budget), self.public_key, tally, chance, **options)

    def reckon_with(self, crowd: Crowd) -> None:
        """See :func:`faults.accounts.reckon`."""
        reckon(
            self.url,
            crowd.key_id,
            crowd.tally,
            delivered=crowd.delivered,
            receipts=crowd.receipts,
            wanted=crowd.images,
            lease_ms=LEASE_MS,
        )


def found_estate(
    store: str,
    folder: Path,
    zygote: Zygote,
    *,
    url: str = "",
    replicas: int = 1,
    **changes: Any,
) -> Estate:
    """Make the folders and reserve the ports; nothing lives yet.

    Args:
        store: ``sqlite`` or ``redis``.
        folder: for everything.
        zygote: forks the services.
        url: of the ledger; on SQLite, a file in ``folder``.
        replicas: how many services share it; on SQLite, one.
        changes: settings of all replicas.
    """
    assert store != "sqlite" or replicas == 1
    homes = [folder / f"replica{k}" for k in range(replicas)]
    signer = ReceiptSigner.load_or_create(homes[0])
    for home in homes[1:]:
        home.mkdir()
        shutil.copy2(homes[0] / KEY_FILE, home / KEY_FILE)
    url = url or f"sqlite:///{homes[0] / 'ledger.sqlite'}"
    places = [Replica(home, reserve_port(), url, zygote, changes) for home in homes]
    return Estate(store, url, places, signer.public_key)
