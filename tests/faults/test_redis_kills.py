"""kill -9 of Redis, a Redis that is away, and one that was restored from an older snapshot."""

import asyncio
import random
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.conftest import Tallying
from faults.crowd import Crowd
from faults.effort import Effort
from faults.stores import Estate, Replica
from faults.tally import Tally
from redis_process import RedisProcess

from teacher_service.errors import VerificationFailed
from teacher_service.state import WATERMARKS_FILE

CLIENTS = 16
REPLICAS = 2
NEW_IMAGES = 40
"""Come to hand for each kill."""
ON_ITS_WAY_S = 0.5
"""An answer that was settled before Redis went away may arrive a little later."""


def start_all(estate: Estate) -> None:
    for replica in estate.replicas:
        replica.live()


def end_all(estate: Estate) -> None:
    for replica in estate.replicas:
        replica.end()


async def answered(tally: Tally, more: int, buying: "asyncio.Task[None]") -> None:
    """Until so many more answers came."""
    target = tally.answers + more
    while tally.answers < target and not buying.done():
        await asyncio.sleep(0.002)


@pytest.mark.slow
def test_a_redis_killed_at_random_moments_and_restarted_charges_and_delivers_each_image_once(
    redis: RedisProcess, effort: Effort, found: Callable[..., Estate], tallying: Tallying
) -> None:
    """``appendfsync always``: what it acknowledged is on its disk; what it did not, nobody was told of."""
    chance = effort.chance("redis kills")
    estate = found("redis", replicas=REPLICAS)
    start_all(estate)

    async def story(crowd: Crowd) -> None:
        buying = asyncio.create_task(crowd.run(CLIENTS))
        for _ in range(effort.redis_kills):
            crowd.stock(NEW_IMAGES)
            await answered(crowd.tally, chance.randint(3, 10), buying)
            await asyncio.sleep(chance.uniform(0.0, 0.01))
            await asyncio.to_thread(redis.kill)
            crowd.tally.faults += 1
            await asyncio.sleep(chance.uniform(0.0, 0.1))
            await asyncio.to_thread(redis.start)
        crowd.close()
        await buying

    with tallying("Redis killed at random moments", "redis") as tally:
        crowd = estate.crowd(effort.redis_kills * NEW_IMAGES, tally, chance)
        asyncio.run(story(crowd))
        end_all(estate)
        estate.reckon_with(crowd)
        check_refusals(crowd, since_s=0.0, until_s=time.monotonic())


def check_refusals(crowd: Crowd, since_s: float, until_s: float) -> None:
    """Whoever was refused while Redis was away was told so, and when to come back."""
    refused = [refusal for refusal in crowd.refusals if since_s <= refusal.at_s <= until_s]
    assert refused, "nobody was refused: Redis was not away"
    for refusal in refused:
        # What is in flight on the other replica is not Redis's fault, and passes.
        assert refusal.code in ("ledger_unavailable", "request_in_flight"), refusal
        if refusal.code == "ledger_unavailable":
            assert (refusal.status, bool(refusal.retry_after)) == (503, True), refusal


OUTAGES = [("its process gone", 10.0), ("its process stopped", 4.0)]
"""How long each is away in a usual run; 10 s each in a long one."""


@pytest.mark.slow
@pytest.mark.parametrize(("way", "usual_s"), OUTAGES)
def test_while_redis_is_away_every_answer_is_503_with_retry_after_and_then_the_clients_finish(
    way: str,
    usual_s: float,
    redis: RedisProcess,
    effort: Effort,
    found: Callable[..., Estate],
    tallying: Tallying,
) -> None:
    """Invariant 5. A process that is gone refuses connections; a stopped one takes them and says nothing."""
    chance = effort.chance(f"outage {way}")
    estate = found("redis", replicas=REPLICAS)
    start_all(estate)
    away_s = 10.0 if effort.is_long else usual_s
    leave, come_back = (redis.stop, redis.start) if way == "its process gone" else (redis.pause, redis.resume)
    answers_at_s: list[float] = []

    async def story(crowd: Crowd) -> tuple[float, float]:
        buying = asyncio.create_task(crowd.run(CLIENTS))
        crowd.stock(400)
        await answered(crowd.tally, 20, buying)
        await asyncio.to_thread(leave)
        left_s = time.monotonic()
        await asyncio.wait([buying], timeout=away_s)
        back_s = time.monotonic()
        await asyncio.to_thread(come_back)
        crowd.close()
        await buying
        return left_s, back_s

    with tallying(f"Redis away for {away_s:g} s, {way}", "redis") as tally:
        crowd = estate.crowd(400, tally, chance, on_answer=answers_at_s.append)
        left_s, back_s = asyncio.run(story(crowd))
        tally.faults += 1
        end_all(estate)
        estate.reckon_with(crowd)
        during = [at_s for at_s in answers_at_s if left_s + ON_ITS_WAY_S < at_s < back_s]
        tally.delivered_uncharged += len(during)
        assert [at_s for at_s in answers_at_s if at_s > back_s], "all was bought before Redis went away"
        check_refusals(crowd, left_s + ON_ITS_WAY_S, back_s)


@pytest.mark.slow
def test_a_redis_restored_from_an_older_snapshot_is_refused_by_running_and_by_restarted_replicas(
    redis: RedisProcess,
    effort: Effort,
    found: Callable[..., Estate],
    tallying: Tallying,
    tmp_path: Path,
) -> None:
    """It would hand spent budget out again. With its newest files back, everything goes on."""
    chance = effort.chance("snapshot")
    estate = found("redis", replicas=REPLICAS)
    running, restarted = estate.replicas
    start_all(estate)
    with tallying("Redis restored from a snapshot", "redis") as tally:
        crowd = estate.crowd(80, tally, chance)
        buy(crowd, 20)
        snapshot = files_of(redis, tmp_path / "older")
        buy(crowd, 20)
        for replica in (running, restarted):  # each sees a record that the snapshot lacks
            assert crowd.ask_once(replica.address, chance.sample(sorted(crowd.delivered), 1)) is None
        wait_until_saved(restarted, crowd.key_id, max(receipt.seq for receipt in crowd.receipts))
        assert restarted.life is not None
        restarted.life.kill()
        assert restarted.life.wait(10) == -signal.SIGKILL
        newest = files_of(redis, tmp_path / "newest")

        put_back(redis, snapshot)
        tally.faults += 1
        check_that_nothing_is_sold(crowd, running, chance)
        refused = restarted.begin()
        assert refused.wait(30) == VerificationFailed.exit_code, refused.errors
        assert "rolled back" in refused.errors

        running.end()
        put_back(redis, newest)
        start_all(estate)
        buy(crowd, 40)
        end_all(estate)
        estate.reckon_with(crowd)


def buy(crowd: Crowd, images: int) -> None:
    crowd.stock(images)
    crowd.close()
    asyncio.run(crowd.run(CLIENTS))


def check_that_nothing_is_sold(crowd: Crowd, replica: Replica, chance: random.Random) -> None:
    """Neither what is new nor what was paid: each is refused, for as long as the store is the old one."""
    for image in chance.sample(sorted(crowd.images), 10):
        refusal = crowd.ask_once(replica.address, [image])
        assert refusal is not None, "a descriptor was served from a store that was rolled back"
        assert (refusal.status, refusal.code) == (503, "ledger_unavailable")
        assert refusal.retry_after


def files_of(redis: RedisProcess, copy: Path) -> Path:
    """A copy of its files at rest; it serves again afterwards."""
    redis.stop()
    shutil.copytree(redis.folder, copy)
    redis.start()
    return copy


def put_back(redis: RedisProcess, copy: Path) -> None:
    redis.stop()
    shutil.rmtree(redis.folder)
    shutil.copytree(copy, redis.folder)
    redis.start()


def wait_until_saved(replica: Replica, key_id: str, seq: int) -> None:
    """Until the replica has noted on disk how far the chain was; it does so every second."""
    for _ in range(1000):
        with sqlite3.connect(replica.data_dir / WATERMARKS_FILE) as marks:
            rows = marks.execute("SELECT seq FROM seen WHERE key_id = ?", (key_id,)).fetchall()
        marks.close()
        if rows and rows[0][0] >= seq:
            return
        threading.Event().wait(0.01)
    raise AssertionError(f"the watermark of {key_id} is not saved: {rows}, expected {seq}")
