"""kill -9 of the client, the real ``student-trainer fetch``: run to its end, it has paid once for each."""

import random
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from faults.accounts import reckon
from faults.conftest import Tallying
from faults.crowd import photograph
from faults.effort import Effort
from faults.kill_points import TRAINER_POINTS
from faults.stores import LEASE_MS, Estate
from faults.tally import Tally
from faults.zygote import Life, Zygote
from reverse_proxy import Exchange, ReverseProxy

from shared.certificate import parse_certificate, verify_certificate
from shared.images import ImageLimits
from student_trainer.acquire.audit import stored_descriptors
from student_trainer.acquire.plan import decide, take_stock
from student_trainer.acquire.records import PlanFacts
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.datasets.manifest import scan_folder
from student_trainer.run_folder import RunFolder

BATCH, CONCURRENCY, MOST_PASSAGES = 2, 3, 4
IMAGES_PER_KILL = BATCH * (CONCURRENCY + MOST_PASSAGES)
"""At most so many are bought before a kill, so the last fetch has something left to do."""
LIFE_S = 60.0


@dataclass
class Trainer:
    """A run folder, and the verbs on it."""

    zygote: Zygote
    run: RunFolder
    url: str
    api_key: str

    def fetch(self, point: str | None = None, passage: int = 1) -> Life:
        pace = ("--batch", BATCH, "--concurrency", CONCURRENCY)
        return self._verb("fetch", "--yes", *pace, point=point, passage=passage)

    def audit(self) -> Life:
        return self._verb("audit")

    def _verb(self, verb: str, *options: object, point: str | None = None, passage: int = 1) -> Life:
        words = (verb, "--run", self.run.root, "--json", *options)
        secrets = {"TEACHER_URL": self.url, "TEACHER_API_KEY": self.api_key}
        return self.zygote.trainer(*words, point=point, passage=passage, **secrets)


class RequestCounter:
    """Lets a test wait until so many more requests have reached the service."""

    def __init__(self, proxy: ReverseProxy) -> None:
        self._arrived, self._changed = 0, threading.Condition()
        proxy.on_request = self._count

    def _count(self, exchange: Exchange) -> bool:
        with self._changed:
            self._arrived += 1
            self._changed.notify_all()
        return False

    def wait_for(self, more: int) -> None:
        with self._changed:
            target = self._arrived + more
            arrived = self._changed.wait_for(lambda: self._arrived >= target, timeout=LIFE_S)
            assert arrived, f"only {self._arrived} of {target} requests arrived in {LIFE_S:g} s"


@pytest.fixture
def proxy() -> Iterator[ReverseProxy]:
    """Between trainer and service; it counts."""
    with ReverseProxy([]) as proxy:
        yield proxy


@pytest.fixture
def settled_down(
    found: Callable[..., Estate], proxy: ReverseProxy, zygote: Zygote, tmp_path: Path
) -> Callable[..., tuple[Estate, Trainer]]:
    """A service that lives on, and a planned purchase of ``images``."""

    def make(store: str, images: int, chance: random.Random) -> tuple[Estate, Trainer]:
        estate = found(store)
        estate.replicas[0].live()
        proxy.backends = estate.addresses
        folder, run = tmp_path / "photographs", RunFolder(tmp_path / "run")
        folder.mkdir()
        for index in range(images):
            (folder / f"{index:05}.png").write_bytes(photograph(f"{chance.random()}"))
        decide(run.root, take_stock(scan_folder(folder), ImageLimits()), images, PlanFacts("random", 0, "x"))
        return estate, Trainer(zygote, run, proxy.address, estate.new_key(images))

    return make


def finish(estate: Estate, trainer: Trainer, proxy: ReverseProxy, tally: Tally, images: int) -> None:
    """Run to the end, audit, and reckon with what is stored."""
    last = trainer.fetch()
    assert last.wait(LIFE_S) == 0, last.errors
    assert (last.said[-1]["complete"], last.said[-1]["bought"]) == (True, images)
    audit = trainer.audit()
    assert audit.wait(LIFE_S) == 0, audit.errors
    certificate = parse_certificate(trainer.run.certificate.read_bytes())
    verified = verify_certificate(certificate, estate.public_key)
    assert (verified.images, verified.account.used) == (images, images)
    estate.replicas[0].end()
    with TransferSet.open(trainer.run.transfer_set) as transfer_set:
        held = stored_descriptors(transfer_set)
        receipts = [receipt.body for receipt in transfer_set.receipts()]
    tally.requests = sum(exchange.method == "POST" for exchange in proxy.exchanges)
    tally.answers = len(receipts)
    reckon(
        estate.url,
        trainer.api_key.split("_")[1],
        tally,
        delivered={image: {descriptor} for image, descriptor in held.items()},
        receipts=receipts,
        wanted=held,
        lease_ms=LEASE_MS,
    )


@pytest.mark.slow
def test_a_fetch_killed_at_each_point_of_a_purchase_pays_once_for_each_image(
    store: str,
    effort: Effort,
    settled_down: Callable[..., tuple[Estate, Trainer]],
    proxy: ReverseProxy,
    tallying: Tallying,
) -> None:
    """Invariant 4: written down and unsent, paid and unread, read and half stored, stored."""
    chance, images = effort.chance(f"client points {store}"), effort.client_kills * IMAGES_PER_KILL
    estate, trainer = settled_down(store, images, chance)
    with tallying("client killed at a point of a purchase", store) as tally:
        while tally.faults < effort.client_kills:
            point = TRAINER_POINTS[tally.faults % len(TRAINER_POINTS)]
            life = trainer.fetch(point, chance.randint(1, MOST_PASSAGES))
            status = life.wait(LIFE_S)
            assert status == -signal.SIGKILL, f"{point}: ended with {status}\n{life.errors}"
            tally.faults += 1
        finish(estate, trainer, proxy, tally, images)


@pytest.mark.slow
def test_a_fetch_killed_at_random_moments_pays_once_for_each_image(
    store: str,
    effort: Effort,
    settled_down: Callable[..., tuple[Estate, Trainer]],
    proxy: ReverseProxy,
    tallying: Tallying,
) -> None:
    chance, images = effort.chance(f"client moments {store}"), effort.client_kills * 2 * IMAGES_PER_KILL
    estate, trainer = settled_down(store, images, chance)
    counter = RequestCounter(proxy)
    with tallying("client killed at random moments", store) as tally:
        while tally.faults < effort.client_kills:
            life = trainer.fetch()
            counter.wait_for(chance.randint(1, MOST_PASSAGES))
            threading.Event().wait(chance.uniform(0.0, 0.01))  # anywhere between two requests
            life.kill()
            assert life.wait(LIFE_S) == -signal.SIGKILL, life.errors
            tally.faults += 1
        finish(estate, trainer, proxy, tally, images)
