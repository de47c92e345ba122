"""The budget under concurrency, loss and retries: never one query too many, never one paid twice."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest

from shared.chain import Link, verify_chain
from shared.protocol import Header
from shared.receipts import from_header

CLIENTS = 32


async def send(client: httpx.AsyncClient, key: str, *images: bytes) -> httpx.Response:
    files = [("images", ("x", image, "image/png")) for image in images]
    headers = {"Accept": "application/octet-stream", "Authorization": f"Bearer {key}"}
    return await client.post("/v1/embeddings", files=files, headers=headers)


def together(service: Any, clients: int, work: Callable[..., Coroutine[Any, Any, Any]]) -> list[Any]:
    """Run ``work(client, index)`` as often as ``clients`` says, all at once, each on its own connection."""

    async def all_of_them() -> list[Any]:
        limits = httpx.Limits(max_connections=clients)
        async with httpx.AsyncClient(
            base_url=service.address, limits=limits, timeout=60, trust_env=False
        ) as client:
            return await asyncio.gather(*(work(client, index) for index in range(clients)))

    return asyncio.run(all_of_them())


def check_chain(service: Any, key: str, used: int) -> None:
    """Invariant 3: used is the number of settled images, and the events add up to it."""
    ledger, key_id = service.service.stations.ledger, key.split("_")[1]
    links: list[Link] = list(service.run(ledger.links(key_id)))
    account = verify_chain(links)
    assert (account.used, len(account.charged_images)) == (used, used)
    usage = service.usage(key)
    assert (usage["used"], usage["held"]) == (used, 0)


def test_thirty_two_clients_on_a_budget_that_runs_out_get_exactly_the_budget(
    service: Any, photo: Callable[..., bytes]
) -> None:
    budget = 50
    key = service.key(budget=budget)

    async def four_requests(client: httpx.AsyncClient, index: int) -> list[httpx.Response]:
        return [await send(client, key, photo(1000 + 4 * index + turn, 24, 18)) for turn in range(4)]

    answers = [answer for four in together(service, CLIENTS, four_requests) for answer in four]
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(200) == budget
    assert statuses.count(429) == 4 * CLIENTS - budget
    assert {answer.json()["error"]["code"] for answer in answers if answer.status_code == 429} == {
        "insufficient_quota"
    }
    check_chain(service, key, budget)


def test_overlapping_batches_on_a_budget_that_runs_out_never_overspend(
    service: Any, photo: Callable[..., bytes]
) -> None:
    """Requests share images in different orders: no deadlock, and each distinct image is paid once."""
    key = service.key(budget=20)

    async def request(client: httpx.AsyncClient, index: int) -> httpx.Response:
        seeds = [(index + step) % 24 for step in range(3)]
        chosen = seeds if index % 2 else seeds[::-1]
        return await send(client, key, *(photo(2000 + seed, 24, 18) for seed in chosen))

    answers = together(service, CLIENTS, request)
    charged = sum(int(a.headers[Header.QUERIES_CHARGED]) for a in answers if a.status_code == 200)
    assert 18 <= charged <= 20
    check_chain(service, key, charged)


def test_the_same_image_at_the_same_time_is_charged_once_and_answered_to_all(
    service: Any, photo: Callable[..., bytes]
) -> None:
    key = service.key(budget=1)  # the waiting ones must not be refused for what the first one holds

    async def request(client: httpx.AsyncClient, index: int) -> httpx.Response:
        return await send(client, key, photo(3000))

    answers = together(service, CLIENTS, request)
    assert [answer.status_code for answer in answers] == [200] * CLIENTS
    assert sum(int(answer.headers[Header.QUERIES_CHARGED]) for answer in answers) == 1
    assert len({answer.content for answer in answers}) == 1
    check_chain(service, key, 1)


def test_every_answers_receipt_lies_on_the_chain(service: Any, photo: Callable[..., bytes]) -> None:
    key = service.key(budget=100)

    async def request(client: httpx.AsyncClient, index: int) -> httpx.Response:
        return await send(client, key, photo(3100 + index // 2, 24, 18))

    answers = together(service, 16, request)
    links = service.run(service.service.stations.ledger.links(key.split("_")[1]))
    for answer in answers:
        receipt = from_header(answer.headers[Header.RECEIPT]).verify(service.service.card.public_key)
        assert links[receipt.seq].hash == receipt.ledger_head


def test_an_image_that_another_key_bought_costs_this_key_one(
    service: Any, photo: Callable[..., bytes]
) -> None:
    first, second = service.key(), service.key()
    bought = service.embed(first, photo(3200))
    again = service.embed(second, photo(3200))
    assert (bought.headers[Header.QUERIES_CHARGED], again.headers[Header.QUERIES_CHARGED]) == ("1", "1")
    assert bought.content == again.content
    assert service.usage(second)["used"] == 1


def test_two_keys_at_the_same_time_share_one_computation_and_each_pay(
    service: Any, photo: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [service.key() for _ in range(8)]
    loads: list[bytes] = []
    batcher = service.service.stations.batcher
    load = batcher._model.load

    class Counting:
        describe = batcher._model.describe
        count_pixels = batcher._model.count_pixels

        def load(self, data: bytes) -> Any:
            loads.append(data)
            threading.Event().wait(0.2)  # long enough for all eight to arrive
            return load(data)

    monkeypatch.setattr(batcher, "_model", Counting())

    async def request(client: httpx.AsyncClient, index: int) -> httpx.Response:
        return await send(client, keys[index], photo(3300))

    answers = together(service, 8, request)
    assert [answer.headers[Header.QUERIES_CHARGED] for answer in answers] == ["1"] * 8
    assert len(loads) == 1


def test_replays_are_free_logged_and_identical(service: Any, photo: Callable[..., bytes]) -> None:
    key = service.key(budget=2)
    first = service.embed(key, photo(3400), photo(3401))
    again = service.embed(key, photo(3401), photo(3400))
    assert first.content[:128] == again.content[128:]
    assert (again.headers[Header.QUERIES_CHARGED], again.headers[Header.QUERIES_REPLAYED]) == ("0", "2")
    last = service.run(service.service.stations.ledger.links(key.split("_")[1]))[-1].record
    assert (last["charged"], last["replayed"]) == (0, 2)


def test_under_every_call_billing_a_repeat_costs_unless_it_is_the_same_call(
    service: Any, photo: Callable[..., bytes]
) -> None:
    key = service.key(budget=3, billing="every-call")
    same_call = {Header.IDEMPOTENCY_KEY.value: "call-1"}
    charges = [
        service.embed(key, photo(3500), **same_call).headers[Header.QUERIES_CHARGED],
        service.embed(key, photo(3500), **same_call).headers[Header.QUERIES_CHARGED],
        service.embed(key, photo(3500)).headers[Header.QUERIES_CHARGED],
        service.embed(key, photo(3500)).headers[Header.QUERIES_CHARGED],
    ]
    assert charges == ["1", "0", "1", "1"]
    assert service.embed(key, photo(3500)).status_code == 429


def test_an_idempotency_key_outlives_a_change_of_the_multipart_boundary(
    service: Any, photo: Callable[..., bytes]
) -> None:
    key = service.key()
    name = {Header.IDEMPOTENCY_KEY.value: "k"}
    with service.client(key) as client:
        for boundary in ("first", "second"):
            part = b'Content-Disposition: form-data; name="images"; filename="a"\r\n\r\n' + photo(3600)
            body = b"--%b\r\n%b\r\n--%b--\r\n" % (boundary.encode(), part, boundary.encode())
            content_type = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
            answer = client.post("/v1/embeddings", content=body, headers={**content_type, **name})
            assert answer.status_code == 200, answer.text
    assert service.usage(key)["used"] == 1


def test_a_client_that_leaves_in_the_middle_pays_once_and_its_retry_is_free(
    service: Any, photo: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = service.key(budget=1)
    entered, go_on = threading.Event(), threading.Event()
    batcher = service.service.stations.batcher
    load = batcher._model.load

    class Slow:
        describe = batcher._model.describe
        count_pixels = batcher._model.count_pixels

        def load(self, data: bytes) -> Any:
            entered.set()
            assert go_on.wait(30)
            return load(data)

    with monkeypatch.context() as slow:
        slow.setattr(batcher, "_model", Slow())
        host, port = service.address.removeprefix("http://").split(":")
        image = photo(3700)

        async def leave() -> None:
            _, writer = await asyncio.open_connection(host, int(port))
            head = f"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
            head += f"Content-Type: image/png\r\nContent-Length: {len(image)}\r\n\r\n"
            writer.write(head.encode() + image)
            await writer.drain()
            await asyncio.to_thread(entered.wait, 30)
            writer.transport.abort()

        asyncio.run(leave())
        go_on.set()
    answer = service.embed(key, photo(3700))
    assert answer.status_code == 200
    assert answer.headers[Header.QUERIES_CHARGED] == "0"
    check_chain(service, key, 1)


def test_a_cancelled_handler_still_settles(service: Any, photo: Callable[..., bytes]) -> None:
    """A server that cancels handlers when clients leave, or at a hard stop, must not lose a charge."""
    from starlette.requests import Request

    from teacher_service.routes.embeddings import create_embeddings

    key = service.key(budget=1)
    app_state = type("App", (), {"state": type("State", (), {"service": service.service})()})()
    headers = [(b"authorization", f"Bearer {key}".encode()), (b"content-type", b"image/png")]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": photo(3800), "more_body": False}

    async def cancel_in_the_middle() -> None:
        scope = {"type": "http", "headers": headers, "app": app_state, "state": {"request_id": "req_test"}}
        handler = asyncio.ensure_future(create_embeddings(Request(scope, receive)))
        while not service.service.in_flight:
            await asyncio.sleep(0)
        handler.cancel()
        await asyncio.gather(*service.service.in_flight)

    service.run(cancel_in_the_middle())
    check_chain(service, key, 1)
