"""Spend the budget: send what is missing, check every answer, and commit it the moment it arrives.

In: a transfer set whose teacher is known and a connection. Out: descriptors and receipts on disk, and an
account of what this run did. It may be stopped at any instant and run again: requests are written down
before they are sent, so that what was paid for is delivered again for free.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shared.receipts import Receipt
from student_trainer.acquire.answers import check_answer
from student_trainer.acquire.balance import Balance
from student_trainer.acquire.client import TeacherClient, Upload
from student_trainer.acquire.outbox import Outbox, Request
from student_trainer.acquire.pacing import Stopped, StopSignal
from student_trainer.acquire.quote import Quote, request_size
from student_trainer.acquire.records import PlannedImage
from student_trainer.acquire.refusals import QuotaExhausted, Refused
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.acquire.uploads import load
from student_trainer.errors import ServiceRefused

MULTIPART_OVERHEAD_BYTES = 1024
"""Room kept for each part's headers when a request is filled up to the service's limit."""
GRACE_S = 10.0
"""How long an interrupted fetch waits for the answers of requests that are on their way."""


@dataclass
class Outcome:
    """What one run of fetch did."""

    requests: int = 0
    charged: int = 0
    replayed: int = 0
    remaining: int | None = None
    """Queries left by the newest receipt; None before the first."""
    refused: dict[Path, str] = field(default_factory=dict)
    """Images that the teacher refused, and why. They cost nothing."""
    changed: dict[Path, str] = field(default_factory=dict)
    """Files that are not what was planned any more; nothing was spent on them."""
    interrupted: bool = False
    exhausted_until_ms: int | None = None
    """When the next window of the budget begins, where the current one ended this run."""


class Fetch:
    """One run over everything that is missing, with several requests on their way at once."""

    def __init__(
        self,
        transfer_set: TransferSet,
        client: TeacherClient,
        quote: Quote,
        stop: StopSignal,
        *,
        batch: int,
        on_progress: Callable[[int, Outcome], None],
    ) -> None:
        self._client, self._teacher, self._stop = client, quote.teacher, stop
        self._paid_images = quote.paid_images
        self._windowed, self._balance = quote.is_windowed, Balance(quote.usage)
        self._outbox = Outbox(transfer_set)
        self._open = deque(self._outbox.unanswered())
        # What is paid for comes first: it is delivered even if the budget ends this run.
        self._free = deque(sorted(self._outbox.unassigned(), key=self._is_unpaid))
        self._images_per_request = request_size(batch, quote)
        self._bytes_per_request = quote.limits.max_request_bytes
        self._on_progress = on_progress
        self._workers: list[asyncio.Task[None]] = []
        self.outcome = Outcome()

    async def run(self, concurrency: int) -> Outcome:
        """Fetch until nothing is missing, or until stopped.

        Raises:
            TrainerError: the first error of any request, after the others were brought to their end.
        """
        self._workers = [asyncio.create_task(self._work()) for _ in range(concurrency)]
        grace = asyncio.create_task(self._end_after_grace())
        results = await asyncio.gather(*self._workers, return_exceptions=True)
        grace.cancel()
        for error in results:
            if isinstance(error, BaseException) and not isinstance(error, Stopped | asyncio.CancelledError):
                raise error
        return self.outcome

    def interrupt(self) -> None:
        """Begin nothing new and wait for what is on its way; the second time, do not wait."""
        if self.outcome.interrupted:
            self._cancel()
        self.outcome.interrupted = True
        self._stop.set()

    async def _work(self) -> None:
        try:
            while not self._stop.is_set() and (job := await self._next_job()):
                await self._buy(*job)
        except BaseException:
            self._stop.set()
            raise

    async def _end_after_grace(self) -> None:
        await self._stop.wait()
        await asyncio.sleep(GRACE_S)
        self._cancel()

    def _cancel(self) -> None:
        """The service completes what it has begun; the answers are delivered again, free, next time."""
        for worker in self._workers:
            worker.cancel()

    async def _next_job(self) -> tuple[Request, list[Upload]] | None:
        """First what an earlier run left unanswered, exactly as it was; then new requests."""
        while self._open:
            request = self._open.popleft()
            uploads = await self._load(request.images)
            if len(uploads) == len(request.images):
                return request, list(uploads.values())
            self._take_apart(request, list(uploads))
        while images := self._take_free():
            uploads = await self._load(images)
            if uploads:
                return self._outbox.compose(list(uploads)), list(uploads.values())
        return None

    def _take_free(self) -> list[PlannedImage]:
        images: list[PlannedImage] = []
        room = self._bytes_per_request
        while self._free and len(images) < self._images_per_request:
            room -= self._free[0].bytes + MULTIPART_OVERHEAD_BYTES
            if images and room < 0:
                break
            images.append(self._free.popleft())
        return images

    async def _load(self, images: Sequence[PlannedImage]) -> dict[PlannedImage, Upload]:
        """Read files again; those that are not what was planned are noted and left out."""
        uploads, changed = await load(images)
        self.outcome.changed.update(changed)
        return uploads

    def _take_apart(self, request: Request, images: Sequence[PlannedImage]) -> None:
        """A request that cannot be repeated may have been paid for.

        Billed per distinct image, its images replay free in any other request. Billed per call they
        would cost again, so the request is left alone until its files are back.
        """
        if self._teacher.billing == "distinct":
            self._outbox.dissolve(request)
            self._free.extendleft(reversed(images))

    async def _buy(self, request: Request, uploads: list[Upload]) -> None:
        try:
            raw = await self._client.embed(uploads, request.idempotency_key, self._teacher.revision)
        except Refused as refusal:
            self._learn_from(refusal, request)
            return
        except QuotaExhausted as refusal:
            self._fit_into_window(refusal, request)
            return
        answer = check_answer(raw, request.digests, self._teacher)
        # Not in a thread: a cancellation must not come between an answer and its commit (a few ms).
        self._outbox.close(request, answer)
        self._count(answer.receipt.body, len(request.images))

    def _learn_from(self, refusal: Refused, request: Request) -> None:
        """Go on without an image that the teacher cannot use, or with smaller requests.

        Raises:
            ServiceRefused: the image was paid for, or may have been, and the answer was lost.
            Refused: the refusal is about something else.
        """
        index = refusal.image_index(len(request.images))
        others = list(request.images)
        if index is not None:
            refused = others.pop(index)
            self._insist_that_it_is_unpaid(refused, refusal)
            self._outbox.refuse(request, refused, str(refusal))
            self.outcome.refused[refused.path] = str(refusal)
            self._free.extendleft(reversed(others))
        elif refusal.is_too_large and self._teacher.billing == "distinct":
            self._images_per_request = max(1, len(others) // 2)
            self._take_apart(request, others)
        else:
            raise refusal

    def _fit_into_window(self, refusal: QuotaExhausted, request: Request) -> None:
        """Spend what the window has left on smaller requests; if nothing, end until the next begins.

        Raises:
            QuotaExhausted: there will be no next window.
        """
        if not self._windowed:
            raise refusal
        # A try that was lost on its way may arrive yet: billed per call, its images must not go elsewhere.
        may_be_split = self._teacher.billing == "distinct" or not refusal.may_be_paid
        if may_be_split:
            self._outbox.dissolve(request)
            self._free.extendleft(reversed(request.images))
        if may_be_split and 0 < refusal.remaining < len(request.images):
            self._images_per_request = min(self._images_per_request, refusal.remaining)
        else:
            self.outcome.exhausted_until_ms = self._balance.window_ends_at_ms
            self._stop.set()

    def _is_unpaid(self, image: PlannedImage) -> bool:
        return image.digest not in self._paid_images

    def _insist_that_it_is_unpaid(self, image: PlannedImage, refusal: Refused) -> None:
        """To note a paid image as refused at no cost would be false, and would give up what was paid.

        Raises:
            ServiceRefused: paid, or perhaps; its request is left open.
        """
        if image.digest in self._paid_images:
            raise ServiceRefused(
                f"{image.path}: {refusal} But the ledger shows that this key paid for the image in an "
                "earlier run, whose answer was lost. Have the teacher's owner accept the image again (were "
                "limits lowered?), then run the same command again: what was paid for is delivered free."
            )
        if refusal.may_be_paid:
            raise ServiceRefused(
                f"{image.path}: {refusal} An answer to the same request was lost before, so the image may "
                "have been paid for: run the same command again, it looks into the ledger first."
            )

    def _count(self, receipt: Receipt, images: int) -> None:
        outcome = self.outcome
        outcome.requests += 1
        outcome.charged += receipt.charged
        outcome.replayed += receipt.replayed
        self._balance.count(receipt)
        outcome.remaining = self._balance.remaining
        self._on_progress(images, outcome)
