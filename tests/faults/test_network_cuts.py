"""The network fails between settle and client: what was paid for is delivered again, free, the same bits."""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle

import httpx
import pytest
from faults.accounts import beside, whole_chain
from faults.conftest import Tallying
from faults.crowd import DIMENSION, photograph
from faults.effort import Effort
from faults.stores import Estate
from reverse_proxy import Exchange, ReverseProxy

from shared.chain import Link
from shared.digest import sha256_hex
from shared.protocol import EMBEDDINGS_PATH, MULTIPART_FIELD, OCTET_STREAM, Header
from shared.receipts import Receipt, from_header

CLIENTS = 16
IMAGES = 8
ROW_BYTES = 4 * DIMENSION
PLACES = ("before the first byte", "in the head", "in the body")


@pytest.fixture
def proxy() -> Iterator[ReverseProxy]:
    """The network."""
    with ReverseProxy([]) as proxy:
        yield proxy


def ask(address: str, api_key: str, images: Sequence[bytes]) -> httpx.Response:
    headers = {"Authorization": f"Bearer {api_key}", "Accept": OCTET_STREAM}
    files = [(MULTIPART_FIELD, ("x", image, "image/png")) for image in images]
    return httpx.post(address + EMBEDDINGS_PATH, headers=headers, files=files, trust_env=False, timeout=30)


def bytes_let_through(place: str, answer: httpx.Response) -> int:
    """Of an answer like this one, until the network fails."""
    head = sum(len(name) + len(value) + len(b": \r\n") for name, value in answer.headers.raw)
    return {"before the first byte": 0, "in the head": head // 2}.get(place, head + IMAGES * ROW_BYTES // 2)


def digests(answer: httpx.Response) -> list[str]:
    """Of its descriptors."""
    body = answer.content
    return [sha256_hex(body[start : start + ROW_BYTES]) for start in range(0, len(body), ROW_BYTES)]


def check_replay(links: Sequence[Link], replay: Receipt, delivered: Sequence[str]) -> None:
    """The lost answer was charged in full, and its descriptors are those that came the second time."""
    lost, again = links[replay.seq - 1].record, links[replay.seq].record
    assert (lost["charged"], lost["replayed"]) == (IMAGES, 0)
    assert (again["charged"], again["replayed"]) == (0, IMAGES)
    for record in (lost, again):
        assert [item["descriptor"] for item in record["items"]] == list(delivered)


@pytest.mark.parametrize("place", PLACES)
def test_an_answer_lost_on_its_way_is_delivered_again_at_no_charge(
    place: str,
    store: str,
    effort: Effort,
    found: Callable[..., Estate],
    proxy: ReverseProxy,
    tallying: Tallying,
) -> None:
    chance = effort.chance(f"cut {place} {store}")
    estate = found(store)
    estate.replicas[0].live()
    proxy.backends = estate.addresses
    api_key = estate.new_key((effort.cuts + 1) * IMAGES)
    with tallying(f"answer lost {place}", store) as tally:
        whole = ask(proxy.address, api_key, [photograph(f"{chance.random()}") for _ in range(IMAGES)])
        kept = bytes_let_through(place, whole)
        while tally.faults < effort.cuts:
            images = [photograph(f"{chance.random()}") for _ in range(IMAGES)]
            proxy.on_answer = lambda exchange: kept
            with pytest.raises(httpx.TransportError):
                ask(proxy.address, api_key, images)
            proxy.on_answer = None
            answer = ask(proxy.address, api_key, images)
            assert answer.status_code == 200, answer.text
            receipt = from_header(answer.headers[Header.RECEIPT]).verify(estate.public_key)
            tally.faults += 1
            tally.requests += 2
            tally.answers += 1
            tally.charged_twice += receipt.charged
            links = beside(estate.url, partial(whole_chain, key_id=receipt.key_id))
            check_replay(links, receipt, digests(answer))
        estate.replicas[0].end()


@pytest.mark.slow
def test_sixteen_clients_on_a_network_that_fails_at_random_pay_once_for_each_image(
    store: str,
    effort: Effort,
    found: Callable[..., Estate],
    proxy: ReverseProxy,
    tallying: Tallying,
) -> None:
    """Every fourth request or answer is cut somewhere, before the service answers included."""
    chance = effort.chance(f"bad network {store}")
    estate = found(store)
    estate.replicas[0].live()
    proxy.backends = estate.addresses
    images = effort.cuts * 60
    with tallying("network that fails at random", store) as tally:
        crowd = estate.crowd(images, tally, chance)
        crowd.addresses = [proxy.address]
        crowd.stock(images)
        crowd.close()
        proxy.on_request, proxy.on_answer = failing_network(random.Random(chance.random()))
        asyncio.run(crowd.run(CLIENTS))
        estate.replicas[0].end()
        tally.faults = tally.requests - tally.answers - len(crowd.refusals)
        estate.reckon_with(crowd)
        assert tally.faults >= effort.cuts
        assert crowd.cut, "no answer was cut in its body"


def failing_network(
    chance: random.Random,
) -> tuple[Callable[[Exchange], bool], Callable[[Exchange], int | None]]:
    """Hooks of a proxy: one cuts before the service has answered, the other somewhere in the answer."""

    def on_request(exchange: Exchange) -> bool:
        return chance.random() < 0.1

    # In turn, so that a short run too has answers that end before, in and behind their heads.
    places = cycle((1700, 0, 1600, 40, 1800))

    def on_answer(exchange: Exchange) -> int | None:
        return next(places) if chance.random() < 0.2 else None

    return on_request, on_answer
