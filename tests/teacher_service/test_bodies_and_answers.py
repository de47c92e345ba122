"""Every form of a request and of an answer carries the same images and the same bits."""

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from shared.protocol import EmbeddingResponse, Header, ModelCard, ModelList
from shared.receipts import delivery_digest, from_header
from shared.vectors import check_rows, decode_rows, descriptor_digest

URL = "/v1/embeddings"


@pytest.fixture
def key(service: Any) -> str:
    text: str = service.key()
    return text


def as_json(client: httpx.Client, images: list[bytes], **members: Any) -> httpx.Response:
    urls = [f"data:image/png;base64,{base64.b64encode(image).decode()}" for image in images]
    return client.post(URL, json={"input": urls, **members})


def as_multipart(client: httpx.Client, images: list[bytes], **fields: str) -> httpx.Response:
    files = [("images", ("name.png", image, "image/png")) for image in images]
    return client.post(URL, files=files, data=fields)


def test_every_body_and_answer_form_carries_the_same_bits(
    service: Any, key: str, photo: Callable[..., bytes]
) -> None:
    images = [photo(seed) for seed in range(3)]
    with service.client(key) as client:
        floats = as_json(client, images)
        texts = as_json(client, images, encoding_format="base64")
        form_texts = as_multipart(client, images, encoding_format="base64")
        raw = client.post(URL, json=floats_body(images), headers={"Accept": "application/octet-stream"})
        singles = [
            client.post(URL, content=image, headers={"Content-Type": "image/png"}).json() for image in images
        ]
    rows = decode_rows(raw.content, int(raw.headers[Header.EMBEDDING_DIM]))
    check_rows(rows, n=3, dim=32)
    from_floats = np.array([item["embedding"] for item in floats.json()["data"]], dtype=np.float32)
    assert np.array_equal(from_floats.view(np.uint32), rows.view(np.uint32))
    for answer in (texts, form_texts):
        sent = [base64.b64decode(item["embedding"], validate=True) for item in answer.json()["data"]]
        decoded = np.stack([np.frombuffer(row, dtype="<f4") for row in sent])
        assert np.array_equal(decoded.view(np.uint32), rows.view(np.uint32))
    one_by_one = np.array([single["data"][0]["embedding"] for single in singles], dtype=np.float32)
    assert np.array_equal(one_by_one, rows)
    assert service.usage(key)["used"] == 3


def floats_body(images: list[bytes]) -> dict[str, Any]:
    return {"input": [base64.b64encode(image).decode() for image in images]}


def test_the_answer_is_in_openais_form_with_its_accounts_and_receipt(
    service: Any, key: str, photo: Callable[..., bytes]
) -> None:
    with service.client(key) as client:
        answer = as_multipart(client, [photo(1), photo(2)])
    parsed = EmbeddingResponse.model_validate_json(answer.content)
    assert [item.index for item in parsed.data] == [0, 1]
    usage = parsed.usage
    assert (usage.prompt_tokens, usage.total_tokens) == (2, 2)
    assert (usage.submitted, usage.charged, usage.replayed, usage.remaining) == (2, 2, 0, 998)
    assert parsed.teacher_revision == service.service.teacher.revision
    body = parsed.receipt.verify(service.service.card.public_key)
    assert from_header(answer.headers[Header.RECEIPT]) == parsed.receipt
    assert (body.charged, body.replayed, body.used_after, body.budget) == (2, 0, 2, 1000)
    assert body.request_id == answer.headers[Header.REQUEST_ID]


def test_the_receipt_names_the_images_and_the_bits_that_were_delivered(
    service: Any, key: str, photo: Callable[..., bytes]
) -> None:
    from shared.chain import Item

    images = [photo(5), photo(6)]
    answer = service.embed(key, *images)
    rows = decode_rows(answer.content, 32)
    receipt = from_header(answer.headers[Header.RECEIPT]).verify(service.service.card.public_key)
    items = [
        Item(image=hashlib.sha256(image).hexdigest(), descriptor=descriptor_digest(row), charged=True)
        for image, row in zip(images, rows, strict=True)
    ]
    assert receipt.delivery_digest == delivery_digest(items)


def test_duplicates_in_a_request_cost_one_and_appear_at_each_index(
    service: Any, key: str, photo: Callable[..., bytes]
) -> None:
    first, second = photo(1), photo(2)
    answer = service.embed(key, first, second, first, first)
    rows = decode_rows(answer.content, 32)
    assert np.array_equal(rows[0], rows[2])
    assert np.array_equal(rows[0], rows[3])
    assert not np.array_equal(rows[0], rows[1])
    headers = answer.headers
    assert headers[Header.QUERIES_SUBMITTED] == "4"
    assert headers[Header.QUERIES_CHARGED] == "2"
    assert headers[Header.QUERIES_REPLAYED] == "0"
    assert service.usage(key)["used"] == 2


def test_a_single_string_is_an_input_of_one(service: Any, key: str, photo: Callable[..., bytes]) -> None:
    with service.client(key) as client:
        answer = client.post(URL, json={"input": base64.b64encode(photo(1)).decode()})
    assert answer.status_code == 200
    assert len(answer.json()["data"]) == 1


def test_the_model_may_be_named_or_left_out(service: Any, key: str, photo: Callable[..., bytes]) -> None:
    name = service.service.card.id
    with service.client(key) as client:
        assert as_json(client, [photo(1)], model=name).json()["model"] == name
        assert as_json(client, [photo(1)]).json()["model"] == name
        assert as_multipart(client, [photo(1)], model=name).status_code == 200


def test_unknown_members_of_the_json_are_ignored(service: Any, key: str, photo: Callable[..., bytes]) -> None:
    with service.client(key) as client:
        assert as_json(client, [photo(1)], user="me", priority=7).status_code == 200


@pytest.mark.parametrize("dimensions", [None, 32])
def test_the_served_dimension_may_be_asked_for(
    service: Any, key: str, photo: Callable[..., bytes], dimensions: int | None
) -> None:
    with service.client(key) as client:
        assert as_json(client, [photo(1)], dimensions=dimensions).headers[Header.EMBEDDING_DIM] == "32"


def test_every_embedding_answer_names_the_teachers_revision(
    service: Any, key: str, photo: Callable[..., bytes]
) -> None:
    answer = service.embed(key, photo(1))
    assert answer.headers[Header.TEACHER_REVISION] == service.service.teacher.revision


def test_models_tells_revision_limits_and_public_key(service: Any, key: str) -> None:
    with service.client(key) as client:
        card = ModelList.model_validate_json(client.get("/v1/models").content).data[0]
        again = ModelCard.model_validate_json(client.get(f"/v1/models/{card.id}").content)
    from shared.digest import digest_of_document

    assert again == card
    assert card.revision == digest_of_document(card.description)
    assert card.dimension == 32
    assert card.limits.max_images_per_request == 64
    assert card.public_key == service.service.stations.signer.public_key


def test_the_ledger_page_holds_the_callers_own_verified_chain(
    service: Any, key: str, photo: Callable[..., bytes]
) -> None:
    from shared.chain import Link, verify_chain
    from shared.protocol import LedgerPage

    service.embed(service.key(), photo(1))  # another key's record must not appear
    for seed in range(3):
        service.embed(key, photo(seed))
    with service.client(key) as client:
        first = LedgerPage.model_validate_json(client.get("/v1/ledger?limit=2").content)
        rest = LedgerPage.model_validate_json(client.get("/v1/ledger?after=1").content)
    assert (first.has_more, rest.has_more) == (True, False)
    account = verify_chain(Link(entry.record, entry.hash) for entry in [*first.entries, *rest.entries])
    head = rest.head.verify(service.service.card.public_key)
    assert (account.used, account.head, account.seq) == (3, head.ledger_head, head.seq)
    assert account.key_id == key.split("_")[1]


def test_health_readiness_metrics_and_the_documentation_need_no_key(service: Any) -> None:
    with service.client() as client:
        assert client.get("/healthz").json() == {"status": "ok", "checks": {}}
        ready = client.get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["checks"] == dict.fromkeys(("teacher", "ledger", "rates", "cache"), "ok")
        assert "teacher_queries_charged_total" in client.get("/metrics").text
        assert client.get("/docs").status_code == 200
