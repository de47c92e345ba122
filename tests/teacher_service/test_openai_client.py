"""A client that we did not write: the official ``openai`` package against the real server."""

import base64
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from shared.protocol import Header
from shared.vectors import decode_rows


class Counted:
    """An openai client, and how often it knocked."""

    def __init__(self, service: Any, key: str) -> None:
        self.requests = 0
        http = httpx.Client(trust_env=False, event_hooks={"request": [self._count]})
        self.client = openai.OpenAI(base_url=f"{service.address}/v1", api_key=key, http_client=http)

    def _count(self, request: httpx.Request) -> None:
        self.requests += 1

    def embed(self, images: list[bytes], **options: Any) -> Any:
        texts = [base64.b64encode(image).decode() for image in images]
        model = self.client.models.list().data[0].id
        self.requests = 0
        return self.client.embeddings.create(model=model, input=texts, **options)


@pytest.mark.parametrize("options", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}])
def test_it_gets_the_same_bits_in_every_encoding(
    service: Any, photo: Callable[..., bytes], options: dict[str, Any]
) -> None:
    key = service.key()
    images = [photo(1), photo(2)]
    answer = Counted(service, key).embed(images, **options)
    rows = decode_rows(service.embed(key, *images).content, 32)
    embeddings = [item.embedding for item in answer.data]
    if options.get("encoding_format") == "base64":
        got = np.stack([np.frombuffer(base64.b64decode(text), dtype="<f4") for text in embeddings])
    else:
        got = np.array(embeddings, dtype=np.float32)
    assert np.array_equal(got, rows)
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (2, 2)
    assert [item.index for item in answer.data] == [0, 1]


def test_an_exhausted_budget_is_tried_only_once(service: Any, photo: Callable[..., bytes]) -> None:
    client = Counted(service, service.key(budget=1))
    with pytest.raises(openai.RateLimitError) as refusal:
        client.embed([photo(1), photo(2)])
    assert refusal.value.code == "insufficient_quota"
    assert client.requests == 1


def test_a_retry_after_a_lost_answer_is_not_billed_twice(service: Any, photo: Callable[..., bytes]) -> None:
    """Its retries carry no idempotency key; the answer is lost after the charge, twice."""
    key = service.key(budget=5)
    client = Counted(service, key)
    losses = iter([True, True, False])

    def lose(response: httpx.Response) -> None:
        if response.request.url.path.endswith("embeddings") and next(losses):
            raise httpx.ReadError("the answer was lost", request=response.request)

    client.client._client.event_hooks["response"] = [lose]
    answer = client.embed([photo(3)])
    assert client.requests == 3
    assert answer.usage.total_tokens == 0
    assert service.usage(key)["used"] == 1


def test_errors_arrive_as_its_own_exceptions(service: Any, photo: Callable[..., bytes]) -> None:
    client = Counted(service, service.key()).client
    text = base64.b64encode(photo(1)).decode()
    with pytest.raises(openai.NotFoundError) as missing:
        client.embeddings.create(model="text-embedding-3-small", input=text)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as bad:
        client.embeddings.create(model=service.service.card.id, input="aGVsbG8=")
    assert (bad.value.code, bad.value.param) == ("invalid_image", "input[0]")
    assert bad.value.request_id == bad.value.response.headers[Header.REQUEST_ID]
    with pytest.raises(openai.AuthenticationError):
        Counted(service, "rtn_wrong").embed([photo(1)])


def test_it_waits_out_a_rate_limit_as_told(service: Any, photo: Callable[..., bytes]) -> None:
    key = service.key(rate="2/second")
    client = Counted(service, key)
    for seed in range(4):
        client.embed([photo(10 + seed)])
    assert service.usage(key)["used"] == 4
