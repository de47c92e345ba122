"""The wire: request and answer models, header names and error codes of the embedding API.

In and out: JSON in OpenAI's form, with what a metered teacher adds. Loads no tensor library, so that a
client or an auditor starts fast. No I/O.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.chain import Billing, Window
from shared.receipts import SignedHead, SignedReceipt

EMBEDDINGS_PATH = "/v1/embeddings"
MODELS_PATH = "/v1/models"
USAGE_PATH = "/v1/usage"
LEDGER_PATH = "/v1/ledger"

OCTET_STREAM = "application/octet-stream"
MULTIPART_FIELD = "images"


class Header(StrEnum):
    """Header names that carry meaning of ours."""

    REQUEST_ID = "X-Request-Id"
    IDEMPOTENCY_KEY = "Idempotency-Key"
    EMBEDDING_DIM = "X-Embedding-Dim"
    QUERIES_SUBMITTED = "X-Queries-Submitted"
    QUERIES_CHARGED = "X-Queries-Charged"
    QUERIES_REPLAYED = "X-Queries-Replayed"
    QUERIES_REMAINING = "X-Queries-Remaining"
    RECEIPT = "X-Receipt"
    TEACHER_REVISION = "X-Teacher-Revision"
    RETRY_AFTER = "Retry-After"
    RETRY_AFTER_MS = "retry-after-ms"
    SHOULD_RETRY = "x-should-retry"
    LIMIT_IMAGES = "x-ratelimit-limit-requests"
    REMAINING_IMAGES = "x-ratelimit-remaining-requests"
    RESET_IMAGES = "x-ratelimit-reset-requests"
    RATE_LIMIT = "RateLimit"
    RATE_LIMIT_POLICY = "RateLimit-Policy"


class ErrorCode(StrEnum):
    """``error.code`` of every refusal; the table of statuses is in ``docs/api.md``."""

    INVALID_API_KEY = "invalid_api_key"
    INVALID_ADMIN_KEY = "invalid_admin_key"
    INVALID_REQUEST = "invalid_request"
    INVALID_IMAGE = "invalid_image"
    MODEL_NOT_FOUND = "model_not_found"
    NOT_FOUND = "not_found"
    IMAGE_TOO_LARGE = "image_too_large"
    REQUEST_TOO_LARGE = "request_too_large"
    REQUEST_TIMEOUT = "request_timeout"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    RATE_LIMIT_EXCEEDED = "rate_limit_exceeded"
    INSUFFICIENT_QUOTA = "insufficient_quota"
    REVISION_MISMATCH = "revision_mismatch"
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch"
    REQUEST_IN_FLIGHT = "request_in_flight"
    KEY_EXISTS = "key_exists"
    KEY_REVOKED = "key_revoked"
    BUDGET_CHANGED = "budget_changed"
    OVERLOADED = "overloaded"
    LEDGER_UNAVAILABLE = "ledger_unavailable"
    INTERNAL_ERROR = "internal_error"


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True)


class EmbeddingRequest(_Wire):
    """JSON body of ``POST /v1/embeddings``. Other members, such as ``user``, are ignored."""

    model: str | None = None
    # Without fail_fast a megabyte of numbers would make half a million errors: seconds, and a gigabyte.
    input: str | Annotated[list[str], Field(fail_fast=True)]
    """``data:`` URLs or bare base64 of encoded images."""
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    """Refused unless it is the served dimension: descriptors are not cut on demand."""


class EmbeddingItem(_Wire):
    """One descriptor of the answer, in the order of the request, duplicates included."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(_Wire):
    """``prompt_tokens`` and ``total_tokens`` equal ``charged``, so that OpenAI clients count queries."""

    prompt_tokens: int
    total_tokens: int
    submitted: int
    charged: int
    replayed: int
    remaining: int


class EmbeddingResponse(_Wire):
    """JSON answer of ``POST /v1/embeddings``."""

    object: Literal["list"] = "list"
    data: list[EmbeddingItem]
    model: str
    teacher_revision: str
    usage: EmbeddingUsage
    receipt: SignedReceipt


class ErrorBody(_Wire):
    """OpenAI's error object."""

    message: str
    type: str
    param: str | None = None
    code: ErrorCode
    remaining: int | None = None
    """Queries left, on ``insufficient_quota``."""


class ErrorResponse(_Wire):
    """Body of every refusal."""

    error: ErrorBody


class ModelLimits(_Wire):
    """What the service admits."""

    max_images_per_request: int
    max_image_bytes: int
    max_request_bytes: int
    max_image_pixels: int
    formats: list[str]


class ModelCard(_Wire):
    """One entry of ``GET /v1/models``."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "ration"
    revision: str
    """SHA-256 of the canonical JSON of ``description``."""
    dimension: int
    description: dict[str, Any]
    """Weights digest, architecture, preprocessing, scales, precision and output policy."""
    limits: ModelLimits
    public_key: str
    """Ed25519 key that signs receipts, hexadecimal."""


class ModelList(_Wire):
    """``GET /v1/models``."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class UsageResponse(_Wire):
    """``GET /v1/usage``: the account of the calling key."""

    key_id: str
    name: str
    billing: Billing
    budget: int = Field(description="queries in all, or for each window")
    window: Window = Field(description="what the budget is for; hours and days are those of UTC")
    window_ends_at_ms: int | None = Field(description="milliseconds since 1970; null for a budget in total")
    used: int = Field(description="queries charged in all")
    used_in_window: int
    held: int
    remaining: int = Field(description="budget - used_in_window - held; 0 for a revoked key")
    rate: str
    revoked: bool = Field(default=False, description="it buys nothing more, and can still read")
    teacher_revision: str


class LedgerEntry(_Wire):
    """One record of ``GET /v1/ledger``."""

    record: dict[str, Any]
    hash: str


class LedgerPage(_Wire):
    """``GET /v1/ledger?after=SEQ&limit=N``: the calling key's own records, oldest first."""

    key_id: str
    entries: list[LedgerEntry]
    has_more: bool
    head: SignedHead
    """Signed state of the whole ledger of this key, not of this page."""


class HealthResponse(_Wire):
    """``/healthz`` and ``/readyz``."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, str] = {}
