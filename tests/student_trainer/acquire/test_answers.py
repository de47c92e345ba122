"""Meeting a teacher: what it says of itself must be consistent before a query is spent on it."""

import pytest

from shared.digest import digest_of_document
from shared.protocol import ModelCard, ModelLimits, UsageResponse
from student_trainer.acquire.answers import introduce
from student_trainer.errors import VerificationFailed

LIMITS = ModelLimits(
    max_images_per_request=64,
    max_image_bytes=1,
    max_request_bytes=1,
    max_image_pixels=1,
    formats=["PNG"],
)
DESCRIPTION = {"weights": "ab", "output": {"decimals": None}}


def card(description: dict[str, object], revision: str | None = None) -> ModelCard:
    return ModelCard(
        id="teacher",
        revision=revision or digest_of_document(description),  # type: ignore[arg-type]
        dimension=8,
        description=description,
        limits=LIMITS,
        public_key="ab" * 32,
    )


def usage(revision: str) -> UsageResponse:
    return UsageResponse(
        key_id="k1",
        name="test",
        billing="distinct",
        budget=9,
        window="total",
        window_ends_at_ms=None,
        used=0,
        used_in_window=0,
        held=0,
        remaining=9,
        rate="",
        teacher_revision=revision,
    )


def test_what_a_consistent_service_says_is_taken_over() -> None:
    model = card(DESCRIPTION)
    teacher = introduce("http://host", model, usage(model.revision))
    assert (teacher.revision, teacher.dim, teacher.unit_norm) == (model.revision, 8, True)
    assert teacher.description == DESCRIPTION


@pytest.mark.parametrize(
    ("output", "unit_norm"),
    [(None, True), ({}, True), ({"decimals": None}, True), ({"decimals": 3}, False), ("other", True)],
)
def test_unit_vectors_are_expected_unless_the_teacher_rounds(output: object, unit_norm: bool) -> None:
    model = card({"output": output})
    assert introduce("http://host", model, usage(model.revision)).unit_norm is unit_norm


def test_a_revision_that_is_not_the_digest_of_the_description_is_refused() -> None:
    model = card(DESCRIPTION, revision="cd" * 32)
    with pytest.raises(VerificationFailed, match="claims teacher revision cdcdcdcdcdcd"):
        introduce("http://host", model, usage(model.revision))


def test_a_key_whose_account_names_another_revision_is_refused() -> None:
    with pytest.raises(VerificationFailed, match="account names efefefefefef"):
        introduce("http://host", card(DESCRIPTION), usage("ef" * 32))


def test_a_description_with_floats_has_no_digest_and_is_refused() -> None:
    with pytest.raises(VerificationFailed, match="cannot be digested"):
        introduce("http://host", card({"scale": 1.5}, revision="cd" * 32), usage("cd" * 32))
