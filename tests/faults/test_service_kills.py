"""kill -9 of the service at each named point of a request, under 16 clients that do not give up."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from faults.conftest import Tallying
from faults.crowd import Crowd
from faults.effort import Effort
from faults.kill_points import SERVICE_POINTS
from faults.stores import Estate, Replica

CLIENTS = 16
NEW_IMAGES = 20
"""Come to hand with each life, so that no life passes without charges."""
MOST_PASSAGES = 16
LIFE_S = 60.0


@dataclass(frozen=True)
class Death:
    """Where a life ends."""

    point: str
    passage: int


async def live_and_die(replica: Replica, deaths: Sequence[Death], crowd: Crowd) -> None:
    """One life after the other, each ended at its point; the last one lives on."""
    for death in deaths:
        life = await asyncio.to_thread(replica.live, death.point, death.passage)
        crowd.stock(NEW_IMAGES)
        status = await asyncio.to_thread(life.wait, LIFE_S)
        assert status == -signal.SIGKILL, f"{death}: ended with {status}\n{life.errors}"
        crowd.tally.faults += 1
    await asyncio.to_thread(replica.live)


async def kill_under_load(estate: Estate, deaths: Sequence[Sequence[Death]], crowd: Crowd) -> None:
    """Each replica dies its own deaths while all clients buy."""
    async with asyncio.TaskGroup() as group:
        buying = group.create_task(crowd.run(CLIENTS))
        async with asyncio.TaskGroup() as lives:
            for replica, its_deaths in zip(estate.replicas, deaths, strict=True):
                lives.create_task(live_and_die(replica, its_deaths, crowd))
        crowd.close()
        await buying


@pytest.mark.slow
@pytest.mark.parametrize("point", SERVICE_POINTS)
def test_a_service_killed_at_a_point_of_a_request_charges_and_delivers_each_image_once(
    point: str, store: str, effort: Effort, found: Callable[..., Estate], tallying: Tallying
) -> None:
    """Invariants 1 to 4, on Redis with two replicas that die independently."""
    replicas = {"sqlite": 1, "redis": 2}[store]
    kills = effort.kills_of_each(len(SERVICE_POINTS), replicas)
    chance = effort.chance(f"service {point} {store}")
    # A cache would keep the network idle once the new images of a life are bought, and the life would go on.
    changes = {"cache_bytes": 0} if point == "during_compute" else {}
    estate = found(store, replicas=replicas, **changes)
    deaths = [[Death(point, chance.randint(1, MOST_PASSAGES)) for _ in range(kills)] for _ in range(replicas)]
    with tallying(f"service killed {point.replace('_', ' ')}", store) as tally:
        crowd = estate.crowd(kills * replicas * NEW_IMAGES, tally, chance)
        asyncio.run(kill_under_load(estate, deaths, crowd))
        for replica in estate.replicas:
            replica.end()
        estate.reckon_with(crowd)
        assert tally.faults == kills * replicas
        assert not [refusal for refusal in crowd.refusals if refusal.code == "insufficient_quota"]
        if point == "mid_answer":
            assert crowd.cut, "no answer was ever cut in the middle: the point was not where it should be"
