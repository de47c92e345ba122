"""The teacher over HTTP: the only module of the trainer that opens a connection.

In: an address, an API key, encoded images. Out: the service's answers, not yet checked (see
:mod:`student_trainer.acquire.answers`), or an error that says whether trying again would help.

Tried again: what cannot be connected, times out or breaks off, and 408, 409, rate limits and 5xx. All
are safe: every request carries an idempotency key, and equal images replay free. Anything else is final.

Proxies of the environment are used as usual, except for a service on this machine.
"""

import ipaddress
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from shared.chain import Link
from shared.protocol import (
    EMBEDDINGS_PATH,
    LEDGER_PATH,
    MODELS_PATH,
    MULTIPART_FIELD,
    OCTET_STREAM,
    USAGE_PATH,
    Header,
    LedgerPage,
    ModelCard,
    ModelList,
    UsageResponse,
)
from shared.receipts import SignedHead
from student_trainer.acquire.pacing import Pacer, backoff_s
from student_trainer.acquire.refusals import Fault, QuotaExhausted, Refused, read_failure
from student_trainer.errors import InvalidInput, ServiceRefused

LEDGER_PAGE_RECORDS = 1000
API_VERSION = "/v1"
"""With which every path begins that is asked for; OpenAI clients are given it as part of the address."""
Answered = TypeVar("Answered", bound=BaseModel)


@dataclass(frozen=True)
class Access:
    """Where the teacher is and who asks. The key is kept out of every representation.

    The address is kept without a slash, or the version of the API, at its end.
    """

    url: str
    api_key: str

    def __post_init__(self) -> None:
        try:
            url = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise InvalidInput(f"The service's address {self.url!r} is not a URL: {error}.") from None
        if url.scheme not in ("http", "https") or not url.host or len(self.url.split()) != 1:
            raise InvalidInput(f"The service's address {self.url!r} is not like http://host:8000.")
        if url.userinfo:
            raise InvalidInput("The service's address must not carry a password; give the key with --key.")
        if not self.api_key.isascii() or not self.api_key.isprintable() or " " in self.api_key:
            raise InvalidInput("The API key holds characters that no key has; copy it again.")
        path = url.path.rstrip("/")
        if path.endswith(API_VERSION):
            url = url.copy_with(path=path.removesuffix(API_VERSION))
        object.__setattr__(self, "url", str(url).rstrip("/"))

    def __repr__(self) -> str:
        return f"Access({self.url!r})"


@dataclass(frozen=True)
class Patience:
    """Time limits, in seconds."""

    connect_s: float = 10.0
    read_s: float = 300.0
    """Between two bytes of an answer; a slow teacher computes for a while before the first."""
    give_up_after_s: float = 900.0
    """How long a request may go on failing. Waits that a rate limit asks for do not count."""


@dataclass(frozen=True)
class Upload:
    """One encoded image to be sent."""

    data: bytes
    media_type: str


@dataclass(frozen=True)
class RawAnswer:
    """A successful answer to an embedding request, unchecked."""

    body: bytes
    headers: Mapping[str, str]


class TeacherClient:
    """A connection pool to one service; use it as an async context manager."""

    def __init__(
        self,
        access: Access,
        *,
        patience: Patience = Patience(),
        connections: int = 4,
        pacer: Pacer | None = None,
        on_wait: Callable[[str, float], None] = lambda reason, wait_s: None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url, self._patience, self._now_s = access.url, patience, now_s
        self._pacer = pacer or Pacer()
        self._on_wait = on_wait
        self._http = httpx.AsyncClient(
            base_url=access.url,
            headers={"Authorization": f"Bearer {access.api_key}"} if access.api_key else {},
            timeout=httpx.Timeout(patience.read_s, connect=patience.connect_s, pool=None),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            trust_env=not _is_loopback(access.url),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def model(self) -> ModelCard:
        """The teacher that is served.

        Raises:
            ServiceRefused: none, or several.
        """
        models = (await self._get(MODELS_PATH, ModelList)).data
        if len(models) != 1:
            names = ", ".join(model.id for model in models) or "none"
            raise ServiceRefused(
                f"The service at {self._url} serves {names}; exactly one teacher was expected."
            )
        return models[0]

    async def usage(self) -> UsageResponse:
        """The account of the key."""
        return await self._get(USAGE_PATH, UsageResponse)

    async def chain(self) -> tuple[list[Link], SignedHead]:
        """The key's ledger up to its signed head, unchecked; records newer than the head are left out."""
        links: list[Link] = []
        while True:
            path = f"{LEDGER_PATH}?after={len(links) - 1}&limit={LEDGER_PAGE_RECORDS}"
            page = await self._get(path, LedgerPage)
            links.extend(Link(entry.record, entry.hash) for entry in page.entries)
            if not page.entries or (not page.has_more and len(links) > page.head.body.seq):
                return links[: page.head.body.seq + 1], page.head

    async def embed(
        self, uploads: Sequence[Upload], idempotency_key: str, revision: str | None = None
    ) -> RawAnswer:
        """Buy the descriptors of ``uploads``, in their order, from the teacher ``revision`` (or any).

        Raises:
            QuotaExhausted: the budget is exhausted.
            RevisionChanged: the service has another teacher; nothing was charged.
            Refused: any other refusal that would be repeated.
            ServiceRefused: the service could not be reached for too long.
        """
        files = [
            (MULTIPART_FIELD, (f"{index}", upload.data, upload.media_type))
            for index, upload in enumerate(uploads)
        ]
        headers = {"Accept": OCTET_STREAM, Header.IDEMPOTENCY_KEY: idempotency_key}
        if revision is not None:
            headers[Header.TEACHER_REVISION] = revision

        async def send() -> httpx.Response:
            return await self._http.post(EMBEDDINGS_PATH, files=files, headers=headers)

        response = await self._persist(send, self._patience.give_up_after_s)
        self._pacer.observe(response.headers, len(uploads))
        return RawAnswer(response.content, response.headers)

    async def _get(self, path: str, kind: type[Answered]) -> Answered:
        # Nothing is at stake before the first purchase, so a wrong address is reported soon.
        patience_s = min(self._patience.give_up_after_s, self._patience.connect_s)
        response = await self._persist(lambda: self._http.get(path), patience_s)
        try:
            return kind.model_validate_json(response.content)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise ServiceRefused(
                f"{self._url}{path} does not answer as a teacher service does ({reason}). Check the address."
            ) from None

    async def _persist(
        self, send: Callable[[], Awaitable[httpx.Response]], patience_s: float
    ) -> httpx.Response:
        """Send until it succeeds, is refused for good, or has failed for ``patience_s``."""
        failures, failing_since_s, may_be_paid = 0, self._now_s(), False
        while True:
            await self._pacer.turn()
            try:
                outcome = await self._try(send)
            except (Refused, QuotaExhausted) as refusal:
                refusal.may_be_paid = may_be_paid
                raise
            if isinstance(outcome, httpx.Response):
                return outcome
            failures += 1
            may_be_paid = may_be_paid or outcome.may_be_paid
            wait_s = backoff_s(failures) if outcome.wait_s is None else outcome.wait_s
            if outcome.is_rate_limit:
                failing_since_s = self._now_s() + wait_s  # the service is well, it only asks for time
            elif self._now_s() + wait_s - failing_since_s > patience_s:
                raise ServiceRefused(
                    f"The service at {self._url} could not be used for {patience_s:g} s; last: "
                    f"{outcome.reason} Nothing is lost: run the same command again when it is back."
                )
            self._on_wait(outcome.reason, wait_s)
            if outcome.concerns_all:
                self._pacer.hold_all(wait_s)
            else:
                await self._pacer.pause(wait_s)

    async def _try(self, send: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response | Fault:
        try:
            response = await send()
        except (httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
            raise InvalidInput(f"No request can be sent to {self._url}: {error}.") from None
        except httpx.RequestError as error:
            not_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
            return Fault(f"{type(error).__name__} ({str(error) or 'no details'}).", may_be_paid=not not_sent)
        if response.is_success:
            return response
        return read_failure(response.status_code, response.headers, response.content)


def _is_loopback(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
