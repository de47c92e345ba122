"""The deployment of docker-compose.yml with processes: two Redis servers, three replicas, a reverse proxy."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from deployment import ENVIRONMENT, PROGRAMS, Deployment, Replica, facts_of, launch
from redis_process import RedisProcess
from reverse_proxy import ReverseProxy

from shared.chain import Link, verify_chain
from shared.protocol import Header, LedgerPage
from shared.receipts import from_header
from teacher_service.metering.auditing.verify import verify_store
from teacher_service.settings import Settings

REPLICAS = 3
CACHE = {"appendonly": "no", "maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}


@pytest.fixture(scope="module")
def deployment(
    start_redis: Callable[..., RedisProcess], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """All replicas share one data folder, as they share a volume."""
    folder = tmp_path_factory.mktemp("deployment")
    ledger, cache = start_redis(), start_redis(**CACHE)
    settings = Settings(data_dir=folder / "data", ledger=ledger.url, cache=cache.url)
    started = [launch(settings, folder / f"errors{number}.txt") for number in range(REPLICAS)]
    try:
        replicas = [Replica(popen, facts_of(popen, errors), errors) for popen, errors in started]
        with ReverseProxy([replica.address for replica in replicas]) as proxy:
            yield Deployment(replicas, proxy, settings)
    finally:
        for popen, _ in started:
            popen.kill()
            popen.communicate()


@pytest.fixture
def images(photo: Callable[..., bytes], request: pytest.FixtureRequest) -> list[bytes]:
    """Six images that no other test uses."""
    first = sum(request.node.name.encode()) * 1000
    return [photo(first + number, 40, 30) for number in range(6)]


def client(address: str, key: str = "") -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}", "Accept": "application/octet-stream"}
    return httpx.Client(base_url=address, headers=headers, trust_env=False, verify=False, timeout=60)


def buy(http: httpx.Client, *images: bytes) -> httpx.Response:
    files = [("images", ("x", image, "image/png")) for image in images]
    return http.post("/v1/embeddings", files=files)


def computed(deployment: Deployment) -> float:
    """Images that the networks of all replicas have seen."""
    pages = [httpx.get(f"{replica.address}/metrics").text for replica in deployment.replicas]
    lines = [line for page in pages for line in page.splitlines()]
    return sum(float(line.split()[1]) for line in lines if line.startswith("teacher_batch_images_sum "))


def test_what_is_bought_on_one_replica_is_a_replay_on_the_others_bit_for_bit(
    deployment: Deployment, images: list[bytes]
) -> None:
    key = deployment.key()
    before = computed(deployment)
    answers = []
    for replica in deployment.replicas:
        with client(replica.address, key) as http:
            answers.append(buy(http, *images).raise_for_status())
    assert [answer.headers[Header.QUERIES_CHARGED] for answer in answers] == ["6", "0", "0"]
    assert len({answer.content for answer in answers}) == 1
    assert computed(deployment) - before == 6

    usages = []
    for replica in deployment.replicas:
        with client(replica.address, key) as http:
            usages.append(http.get("/v1/usage").json())
    assert usages[0]["used"] == 6
    assert usages[1:] == usages[:-1]


def test_every_replica_signs_with_one_key_and_writes_one_chain(
    deployment: Deployment, images: list[bytes]
) -> None:
    key = deployment.key()
    assert len({replica.facts["public_key"] for replica in deployment.replicas}) == 1
    public_key = deployment.replicas[0].facts["public_key"]
    receipts = []
    with client(deployment.proxy.address, key) as http:
        for image in images:
            answer = buy(http, image).raise_for_status()
            receipts.append(from_header(answer.headers[Header.RECEIPT]).verify(public_key))
        page = LedgerPage.model_validate_json(http.get("/v1/ledger").raise_for_status().content)
    assert {exchange.backend for exchange in deployment.proxy.exchanges[-6:]} == set(
        deployment.proxy.backends
    )
    account = verify_chain(Link(entry.record, entry.hash) for entry in page.entries)
    assert (account.used, account.head) == (6, page.head.verify(public_key).ledger_head)
    hashes = [entry.hash for entry in page.entries]
    assert [receipt.ledger_head for receipt in receipts] == hashes[1:]


def test_a_rate_limit_counts_over_all_replicas(deployment: Deployment, photo: Callable[..., bytes]) -> None:
    key = deployment.key(rate="10/minute")

    def one(number: int) -> httpx.Response:
        with client(deployment.proxy.address, key) as http:
            return buy(http, photo(600_000 + number, 40, 30))

    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(one, range(24)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert sum(answer.status_code == 200 for answer in answers) == 10
    assert len(refused) == 14
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in refused)
    codes = {answer.json()["error"]["code"] for answer in refused}
    assert codes == {"rate_limit_exceeded"}


def test_a_crowd_on_a_small_budget_spends_it_exactly(deployment: Deployment, images: list[bytes]) -> None:
    """Two images a request and an odd budget: the last query stays unspent."""
    key = deployment.key(budget=5)
    pairs = [images[start : start + 2] for start in (0, 2, 4)] * 4

    def one(pair: list[bytes]) -> httpx.Response:
        with client(deployment.proxy.address, key) as http:
            while (answer := buy(http, *pair)).status_code == 409:  # the same images in flight elsewhere
                pass
            return answer

    with ThreadPoolExecutor(len(pairs)) as clients:
        answers = list(clients.map(one, pairs))
    charged = [int(a.headers[Header.QUERIES_CHARGED]) for a in answers if a.status_code == 200]
    assert sum(charged) == 4
    assert {answer.status_code for answer in answers} == {200, 429}
    with client(deployment.proxy.address, key) as http:
        usage = http.get("/v1/usage").json()
    assert (usage["used"], usage["held"]) == (4, 0)


def test_a_trainer_fetches_and_audits_through_the_proxy(
    deployment: Deployment, photo: Callable[..., bytes], tmp_path: Path
) -> None:
    for number in range(24):
        (tmp_path / f"{number:02}.png").write_bytes(photo(500_000 + number, 40, 30))
    key, run = deployment.key(budget=24), tmp_path / "run"

    def trainer(*arguments: object) -> str:
        access = {"TEACHER_URL": deployment.proxy.address, "TEACHER_API_KEY": key}
        done = subprocess.run(
            [PROGRAMS / "student-trainer", *map(str, arguments)],
            env={**ENVIRONMENT, **access},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    trainer("plan", "--run", run, "--images", tmp_path, "--queries", 24)
    fetched = json.loads(trainer("fetch", "--run", run, "--yes", "--json", "--batch", 2, "--concurrency", 3))
    assert (fetched["charged"], fetched["remaining"], fetched["complete"]) == (24, 0, True)
    assert trainer("audit", "--run", run).startswith("24 of 24 queries spent by key")


def test_a_client_keeps_one_connection_through_the_proxy(deployment: Deployment, images: list[bytes]) -> None:
    with client(deployment.proxy.address, deployment.key()) as http:
        answers = [buy(http, image) for image in images] + [http.get("/v1/usage") for _ in range(6)]
        sockets = {answer.extensions["network_stream"].get_extra_info("client_addr") for answer in answers}
    assert {answer.status_code for answer in answers} == {200}
    assert len(sockets) == 1


def test_the_replicas_started_without_a_warning_but_that_of_random_weights(deployment: Deployment) -> None:
    for replica in deployment.replicas:
        lines = replica.errors.read_text().splitlines()
        assert [line for line in lines if "random weights" not in line] == []


def test_when_a_replica_ends_the_others_go_on_and_the_ledger_holds(
    deployment: Deployment, images: list[bytes]
) -> None:
    """The last test of the module: it ends one replica in order, and one at once."""
    key = deployment.key()
    first, second, third = deployment.replicas
    with client(deployment.proxy.address, key) as http:
        bought = [buy(http, image).raise_for_status() for image in images[:3]]
        first.popen.send_signal(signal.SIGTERM)
        assert first.popen.wait(timeout=30) == 0
        second.popen.kill()
        second.popen.wait(timeout=30)
        again = [buy(http, image).raise_for_status() for image in images]
    assert [answer.content for answer in again[:3]] == [answer.content for answer in bought]
    charged = [answer.headers[Header.QUERIES_CHARGED] for answer in again]
    assert charged == ["0", "0", "0", "1", "1", "1"]
    assert {exchange.backend for exchange in deployment.proxy.exchanges[-6:]} == {third.address}
    verified = deployment.ledger(verify_store)
    key_id = key.split("_")[1]
    [account] = [account for account in verified.accounts if account.key_id == key_id]
    assert account.used == 6
