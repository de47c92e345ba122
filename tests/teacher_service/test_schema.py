"""The served OpenAPI document, and requests made up from it: no answer is a fault, each is documented."""

from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from shared.protocol import ErrorResponse

OPERATIONS = [
    ("POST", "/v1/embeddings"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{model_id}"),
    ("GET", "/v1/usage"),
    ("GET", "/v1/ledger"),
    ("POST", "/v1/admin/keys"),
    ("GET", "/v1/admin/keys"),
    ("GET", "/v1/admin/keys/{key_id}"),
    ("POST", "/v1/admin/keys/{key_id}/grants"),
    ("POST", "/v1/admin/keys/{key_id}/revoke"),
    ("GET", "/v1/admin/keys/{key_id}/ledger"),
    ("GET", "/v1/admin/usage"),
    ("GET", "/v1/admin/export"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
]
EXAMPLES = 40
"""For each operation: some ten seconds in all."""
ADMIN_KEY = "an-admin-key-of-at-least-32-characters"


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Any]) -> Any:
    return start_service(admin_key=ADMIN_KEY)


@pytest.fixture(scope="module")
def schema(service: Any) -> Any:
    return schemathesis.openapi.from_url(f"{service.address}/openapi.json")


@pytest.fixture(scope="module")
def key(service: Any) -> str:
    text: str = service.key(budget=1000)
    return text


def test_the_document_lists_every_operation(schema: Any) -> None:
    found = {(each.ok().method.upper(), each.ok().path) for each in schema.get_all_operations()}
    assert found == set(OPERATIONS)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_answer_is_as_documented(schema: Any, service: Any, key: str, method: str, path: str) -> None:
    secret = ADMIN_KEY if path.startswith("/v1/admin/") else key

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=schema[path][method].as_strategy())
    def check(case: Any) -> None:
        answer = case.call(headers={"Authorization": f"Bearer {secret}"})
        assert answer.status_code < 500, answer.content
        # A schema cannot say which bytes are an image, so valid requests may well be refused.
        case.validate_response(answer, excluded_checks=[positive_data_acceptance])
        if answer.status_code >= 400:
            ErrorResponse.model_validate_json(answer.content)

    check()
