"""How many faults are tried is what was asked for, or a few more."""

import pytest
from faults.effort import Effort
from faults.kill_points import SERVICE_POINTS


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("kills", [1, 5, 15, 50, 55, 1000])
def test_every_replica_is_killed_as_often_and_all_together_at_least_as_often_as_asked(
    kills: int, replicas: int
) -> None:
    each = Effort(service_kills=kills, seed=1).kills_of_each(len(SERVICE_POINTS), replicas)
    assert 0 <= each * replicas * len(SERVICE_POINTS) - kills < replicas * len(SERVICE_POINTS)
