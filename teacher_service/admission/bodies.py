"""The three forms of a request's body become one submission of admitted images.

In: a streamed body: JSON in OpenAI's form, multipart, or one raw image. Out: image digests and bytes in the
order of the request. Too large a body is refused while it arrives, before it is held in memory.
"""

import asyncio
from collections.abc import Callable

from pydantic import ValidationError
from starlette.requests import Request

from shared.protocol import MULTIPART_FIELD, EmbeddingRequest, ModelLimits
from teacher_service.admission.admitter import Admitter, Parsed
from teacher_service.admission.bytes_in_flight import Share
from teacher_service.admission.multipart import MultipartImages
from teacher_service.admission.pace import Pace, take_at_pace
from teacher_service.embed import Submission
from teacher_service.errors import InvalidRequest, TooLarge, UnsupportedMedia

INLINE_BYTES = 1_000_000
"""Bodies up to this size are parsed and hashed on the event loop (a millisecond); larger ones in a thread."""


class BodyReader:
    """Reads bodies for one model under fixed limits."""

    def __init__(self, model_id: str, dimension: int, limits: ModelLimits, pace: Pace) -> None:
        self._limits = limits
        self._pace = pace
        self._admitter = Admitter(model_id, dimension, limits)

    async def read(self, request: Request, share: Share) -> Submission:
        """Read and admit one request.

        Args:
            share: takes the bytes as they arrive; the caller gives them back when the request ends.

        Raises:
            Overloaded: other requests hold too many bytes, of all keys or of this one.
            TooSlow: the body stalls.
            Refusal: the body cannot be served; its ``param`` names the image, as in ``input[3]``.
        """
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        self._check_declared(request)
        if media_type.startswith("image/"):
            return await self._whole(request, share, lambda data: Parsed([data]))
        if media_type == "application/json":
            return await self._whole(request, share, _parse_json)
        if media_type == "multipart/form-data":
            return await self._multipart(request, share)
        raise UnsupportedMedia(
            f"Cannot read a body of type {media_type or '(none)'!r}: send application/json, "
            f"multipart/form-data with the field {MULTIPART_FIELD!r}, or one image/* body."
        )

    async def _whole(self, request: Request, share: Share, parse: Callable[[bytes], Parsed]) -> Submission:
        chunks: list[bytes] = []
        size = await self._receive(request, share, chunks.append)
        return await _off_the_loop(size, lambda: self._admitter.admit(parse(b"".join(chunks))))

    async def _multipart(self, request: Request, share: Share) -> Submission:
        form = MultipartImages(
            request.headers["content-type"],
            max_images=self._limits.max_images_per_request,
            max_image_bytes=self._limits.max_image_bytes,
        )
        size = await self._receive(request, share, form.feed)
        return await _off_the_loop(size, lambda: self._admitter.admit(_parsed_form(form)))

    async def _receive(self, request: Request, share: Share, take: Callable[[bytes], None]) -> int:
        """Hand each chunk on as it arrives; returns the body's size. Raises TooLarge, TooSlow, Overloaded."""
        received = 0

        def take_in_limits(chunk: bytes) -> None:
            nonlocal received
            received += len(chunk)
            if received > self._limits.max_request_bytes:
                raise self._too_large("more")
            share.take(len(chunk))
            take(chunk)

        await take_at_pace(request.stream(), self._pace, take_in_limits)
        return received

    def _check_declared(self, request: Request) -> None:
        encoding = request.headers.get("content-encoding", "identity").lower()
        if encoding != "identity":
            raise UnsupportedMedia(f"Content-Encoding {encoding!r} is not accepted: images do not compress.")
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._limits.max_request_bytes:
            raise self._too_large(f"{int(declared):,}")

    def _too_large(self, size: str) -> TooLarge:
        return TooLarge(
            f"The body has {size} bytes; at most {self._limits.max_request_bytes:,} are accepted. "
            "Send fewer images in a request."
        )


async def _off_the_loop(size: int, work: Callable[[], Submission]) -> Submission:
    return work() if size <= INLINE_BYTES else await asyncio.to_thread(work)


def _parsed_form(form: MultipartImages) -> Parsed:
    images = form.finish()
    encoding_format = form.fields.get("encoding_format", "float")
    if encoding_format not in ("float", "base64"):
        raise InvalidRequest(
            f"encoding_format {encoding_format!r} is not known: use float or base64.", param="encoding_format"
        )
    return Parsed(images, form.fields.get("model"), encoding_format)


def _parse_json(data: bytes) -> Parsed:
    try:
        body = EmbeddingRequest.model_validate_json(data)
    except ValidationError as error:
        # Only the place and the rule: the text of the input would put image bytes into answers and logs.
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        param = ".".join(str(part) for part in first["loc"] if part not in ("str", "list[str]")) or None
        raise InvalidRequest(f"{param or 'The body'}: {first['msg']}.", param=param) from None
    images = [body.input] if isinstance(body.input, str) else body.input
    return Parsed(images, body.model, body.encoding_format, body.dimensions)
