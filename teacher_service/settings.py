"""Everything that can be set on the service, each as a flag of ``serve`` and as ``TEACHER_<NAME>``.

In: environment variables and the command line (which wins: ``--arch`` or ``--weights`` also over
``TEACHER_CHECKPOINT``). Out: one frozen, validated :class:`Settings`.
"""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.images import FORMATS, PIXELS_CEILING
from shared.protocol import ModelLimits
from teacher_service.redis_urls import is_redis_url

MEMORY, AUTO = "memory", "auto"
_SQLITE_URL = re.compile(r"sqlite:///(?!.*:memory:$)[^?]*[^?/]", re.DOTALL)


class Settings(BaseSettings):
    """The service's settings; unknown names and values out of range are refused."""

    model_config = SettingsConfigDict(
        env_prefix="TEACHER_", frozen=True, extra="forbid", hide_input_in_errors=True
    )  # what is mistyped may hold a password

    # --- which teacher ------------------------------------------------------------------------------
    checkpoint: Path | None = None
    """Network to serve; its architecture is read from the file, and ``arch`` and ``weights`` are unused."""
    arch: str = "resnet101-gem"
    """Trunk and pooling: ``resnet50-gem``, ``mobilenet_v2-320-mac``; without a pooling, GeM."""
    weights: str = "random"
    """``random``, ``imagenet``, or a file with an ImageNet state dict."""
    weights_seed: int = Field(default=0, ge=0)
    """Seed of random weights, so that their revision is the same after a restart."""
    image_size: int = Field(default=362, ge=16, le=8192)
    """Longest side in pixels that the network sees; images are never enlarged."""
    scales: Annotated[tuple[float, ...], NoDecode] = (1.0,)
    """Scales whose descriptors are averaged, such as ``1,0.7071,0.5``."""
    device: str = "auto"

    # --- what is given away of a descriptor ---------------------------------------------------------
    truncate_dims: int | None = Field(default=None, ge=1)
    """Send the first k dimensions, normalised again."""
    noise_sigma: float = Field(default=0.0, ge=0.0, le=10.0)
    """Standard deviation of Gaussian noise on each value, the same for the same image."""
    noise_seed: str = Field(default="", repr=False)
    """Secret that the noise is derived from; needed with ``noise_sigma``."""
    decimals: int | None = Field(default=None, ge=1, le=9)
    """Round each value to this many decimals."""

    # --- where it listens and keeps its state -------------------------------------------------------
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    data_dir: Path = Path(".teacher")
    """Signing key (replicas of one service share it), and the ledger unless ``ledger`` names a place."""
    ledger: str = Field(default="", repr=False)
    """``sqlite:///FILE`` or ``redis://...``; empty for ``ledger.sqlite`` in the data folder."""
    lease_ms: int | None = Field(default=None, ge=1_000)
    """How long a reservation lives without its service; None for the store's default."""
    accept_new_signing_key: bool = False
    """Serve a ledger whose receipts were signed by another key so far."""
    allow_unsafe_redis: bool = False
    """Serve from a Redis ledger that may evict or forget what was acknowledged."""
    cache: str = Field(default=MEMORY, repr=False)
    """``memory``, or ``redis://...`` for several replicas; not the ledger's database."""
    cache_bytes: int = Field(default=1_000_000_000, ge=0)
    """Size of a cache in memory; a Redis has its own limit."""
    cache_ttl_s: int = Field(default=604_800, ge=1)
    """How long a descriptor stays in a cache on Redis."""
    rates: str = Field(default=AUTO, repr=False)
    """Where rate limits are counted: ``memory``, ``redis://...``, or ``auto`` for where the cache is."""

    # --- who may administer it over HTTP ------------------------------------------------------------
    admin_key: SecretStr | None = None
    """Only from the environment, as process lists show flags; without one, nobody may."""
    admin_key_file: Path | None = None
    """A file that holds it instead."""

    # --- what is admitted ---------------------------------------------------------------------------
    max_images: int = Field(default=64, ge=1)
    max_image_bytes: int = Field(default=20_000_000, ge=1)
    max_request_bytes: int = Field(default=256_000_000, ge=1)
    max_bytes_in_flight: int = Field(default=1_000_000_000, ge=1)
    """Of the bodies of all requests together, and half of it of one key's; beyond that the service answers
    ``overloaded``."""
    max_image_pixels: int = Field(default=50_000_000, ge=1, le=PIXELS_CEILING)
    body_timeout_s: float = Field(default=30.0, gt=0.0)
    """Longest pause in a body that arrives, and how long it may take before its rate counts."""
    body_min_bytes_per_s: int = Field(default=20_000, ge=0)
    """Least average rate of a body that takes longer; 0 for any."""

    # --- how work is batched ------------------------------------------------------------------------
    max_batch: int = Field(default=16, ge=1)
    """Images of one shape that the network sees together."""
    max_wait_ms: float = Field(default=5.0, ge=0.0)
    """How long the first image of a batch waits for company."""
    max_queue: int = Field(default=512, ge=1)
    """Images waiting for the network; beyond that the service answers ``overloaded``."""
    decode_threads: int = Field(default=0, ge=0)
    """Threads that decode images; 0 for one per processor core."""
    max_decode_pixels: int = Field(default=100_000_000, ge=1)
    """Pixels of all images that are decoded at the same time; a pixel takes about eight bytes meanwhile."""
    graceful_timeout_s: int = Field(default=60, ge=1)
    """How long a stop waits for requests in flight."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("cache", "rates")
    @classmethod
    def _check_place(cls, value: str, info: ValidationInfo) -> str:
        words = (MEMORY, AUTO) if info.field_name == "rates" else (MEMORY,)
        if value not in words and not is_redis_url(value):
            raise ValueError(
                f"this must be {' or '.join(words)}, redis://HOST:PORT/DATABASE, rediss://... or unix:///SOCKET"
            )
        return value

    @field_validator("ledger")
    @classmethod
    def _check_ledger(cls, value: str) -> str:
        if value and _SQLITE_URL.fullmatch(value) is None and not is_redis_url(value):
            raise ValueError(
                "this must be sqlite:///FILE (an absolute FILE gives four slashes), "
                "redis://USER:PASSWORD@HOST:PORT/DATABASE, rediss://... or unix:///SOCKET; in a password, "
                "what is neither letter nor digit must be percent-encoded, and no options may follow"
            )
        return value

    @field_validator("scales", mode="before")
    @classmethod
    def _split_scales(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @field_validator("scales")
    @classmethod
    def _check_scales(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or not all(0.05 <= scale <= 4.0 for scale in value):
            raise ValueError("scales must be numbers from 0.05 to 4, separated by commas")
        return value

    @field_validator("admin_key", "admin_key_file", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value  # how a compose file passes on a variable that is not set

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.noise_sigma > 0 and not self.noise_seed:
            raise ValueError("noise_sigma needs noise_seed, a secret: whoever knows it subtracts the noise")
        if self.max_queue < self.max_images:
            raise ValueError("max_queue must be at least max_images, or the largest requests never fit")
        if self.max_bytes_in_flight < self.max_request_bytes:
            raise ValueError(
                "max_bytes_in_flight must be at least max_request_bytes, or the largest requests never fit"
            )
        return self

    @property
    def weights_in_words(self) -> str:
        """Where the weights come from: ``random, seed 0``, ``imagenet``, or the name of a file."""
        if self.checkpoint is not None:
            return self.checkpoint.name
        return f"random, seed {self.weights_seed}" if self.weights == "random" else Path(self.weights).name

    @property
    def weights_are_random(self) -> bool:
        """Whether nothing was ever learned: such descriptors serve tests of the way, not of the goal."""
        return self.checkpoint is None and self.weights == "random"

    @property
    def ledger_url(self) -> str:
        """Where budgets and charges are kept."""
        return self.ledger or f"sqlite:///{self.data_dir / 'ledger.sqlite'}"

    @property
    def rates_place(self) -> str:
        """``memory``, or the URL of the Redis in which rate limits are counted."""
        return self.cache if self.rates == AUTO else self.rates

    @property
    def limits(self) -> ModelLimits:
        """What one request may hold, as ``/v1/models`` tells it."""
        return ModelLimits(
            max_images_per_request=self.max_images,
            max_image_bytes=self.max_image_bytes,
            max_request_bytes=self.max_request_bytes,
            max_image_pixels=self.max_image_pixels,
            formats=list(FORMATS),
        )
