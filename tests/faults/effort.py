"""How hard the fault tests try: little in every test run, much with ``make faults``; and from which seed.

In: ``RATION_FAULT_KILLS`` (of a service, for each store; the other scenarios follow), ``RATION_FAULT_SEED``.
Out: one frozen :class:`Effort`.
"""

import os
import random
from dataclasses import dataclass

USUAL_KILLS = 50


@dataclass(frozen=True)
class Effort:
    """What one run of the folder does."""

    service_kills: int
    """For each store, over all points."""
    seed: int

    @property
    def is_long(self) -> bool:
        """More than the usual."""
        return self.service_kills > USUAL_KILLS

    def kills_of_each(self, points: int, replicas: int) -> int:
        """Of one replica at one point, rounded up: all together are never fewer than asked for."""
        return -(-self.service_kills // (points * replicas))

    @property
    def client_kills(self) -> int:
        """Of the trainer."""
        return max(8, self.service_kills // 5)

    @property
    def redis_kills(self) -> int:
        """Of the ledger's Redis."""
        return max(8, self.service_kills // 10)

    @property
    def cuts(self) -> int:
        """Of a connection, in each way."""
        return max(4, self.service_kills // 10)

    @property
    def crowds(self) -> int:
        """How often 64 clients run at a small budget."""
        return 10 if self.is_long else 1

    def chance(self, scenario: str) -> random.Random:
        """All that a scenario draws, from the seed and its name."""
        return random.Random(f"{self.seed} {scenario}")


def effort() -> Effort:
    """As the environment says."""
    kills = int(os.environ.get("RATION_FAULT_KILLS", USUAL_KILLS))
    return Effort(service_kills=kills, seed=int(os.environ.get("RATION_FAULT_SEED", "1")))
