"""The three forms of a request's body become one submission of admitted images.

In: a streamed body (JSON in OpenAI's form, multipart, or one raw image) and the limits. Out: image digests
and bytes in the order of the request; nothing is decoded. Too large a body is refused while it arrives,
before it is held in memory.
"""

import asyncio
import binascii
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError
from starlette.requests import Request

from shared.digest import sha256_hex
from shared.images import ImageLimits, ImageTooLarge, InvalidImage, admit
from shared.protocol import MULTIPART_FIELD, EmbeddingRequest, ErrorCode, ModelLimits
from teacher_service.admission.multipart import MultipartImages
from teacher_service.embed import Submission
from teacher_service.errors import (
    InvalidInputImage,
    InvalidRequest,
    ModelNotFound,
    TooLarge,
    UnsupportedMedia,
)

INLINE_BYTES = 1_000_000
"""Bodies up to this size are hashed on the event loop (about a millisecond); larger ones in a thread."""


@dataclass(frozen=True, slots=True)
class _Parsed:
    images: Sequence[bytes | str]
    """Encoded bytes, or text that holds them as base64."""
    model: str | None = None
    encoding_format: str = "float"


@dataclass(frozen=True)
class BodyReader:
    """Reads bodies for one model under fixed limits."""

    model_id: str
    limits: ModelLimits
    _image_limits: ImageLimits = field(init=False)

    def __post_init__(self) -> None:
        limits = self.limits
        admitted = ImageLimits(limits.max_image_bytes, limits.max_image_pixels, tuple(limits.formats))
        object.__setattr__(self, "_image_limits", admitted)

    async def read(self, request: Request) -> Submission:
        """Read and admit one request.

        Raises:
            Refusal: the body cannot be served; its ``param`` names the image, as in ``input[3]``.
        """
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        self._check_declared(request)
        if media_type.startswith("image/"):
            data = await self._whole(request)
            return await self._submission(_Parsed([data]), len(data))
        if media_type == "application/json":
            data = await self._whole(request)
            return await self._submission(_parse_json(data), len(data))
        if media_type == "multipart/form-data":
            parts, size = await self._multipart(request)
            return await self._submission(parts, size)
        raise UnsupportedMedia(
            f"Cannot read a body of type {media_type or '(none)'!r}: send application/json, "
            f"multipart/form-data with the field {MULTIPART_FIELD!r}, or one image/* body."
        )

    def _check_declared(self, request: Request) -> None:
        encoding = request.headers.get("content-encoding", "identity").lower()
        if encoding != "identity":
            raise UnsupportedMedia(f"Content-Encoding {encoding!r} is not accepted: images do not compress.")
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self.limits.max_request_bytes:
            raise self._too_large(f"{int(declared):,}")

    async def _chunks(self, request: Request) -> AsyncIterator[bytes]:
        received = 0
        async for chunk in request.stream():
            received += len(chunk)
            if received > self.limits.max_request_bytes:
                raise self._too_large("more")
            yield chunk

    async def _whole(self, request: Request) -> bytes:
        return b"".join([chunk async for chunk in self._chunks(request)])

    async def _multipart(self, request: Request) -> tuple[_Parsed, int]:
        parser = MultipartImages(
            request.headers["content-type"],
            max_images=self.limits.max_images_per_request,
            max_image_bytes=self.limits.max_image_bytes,
        )
        async for chunk in self._chunks(request):
            parser.feed(chunk)
        images = parser.finish()
        fields = parser.fields
        encoding_format = fields.get("encoding_format", "float")
        if encoding_format not in ("float", "base64"):
            raise InvalidRequest(
                f"encoding_format {encoding_format!r} is not known: use float or base64.",
                param="encoding_format",
            )
        return _Parsed(images, fields.get("model"), encoding_format), sum(map(len, images))

    async def _submission(self, parsed: _Parsed, size: int) -> Submission:
        if parsed.model is not None and parsed.model != self.model_id:
            raise ModelNotFound(
                f"The model {parsed.model!r} is not served here; the one that is: {self.model_id!r}.",
                param="model",
            )
        if not parsed.images:
            raise InvalidRequest("The request holds no image.", param="input")
        most = self.limits.max_images_per_request
        if len(parsed.images) > most:
            raise TooLarge(
                f"The request holds {len(parsed.images)} images; at most {most} are accepted. Split it.",
                param="input",
            )
        if size <= INLINE_BYTES:
            return self._admit(parsed)
        return await asyncio.to_thread(self._admit, parsed)

    def _admit(self, parsed: _Parsed) -> Submission:
        images = []
        for index, item in enumerate(parsed.images):
            try:
                data = item if isinstance(item, bytes) else _from_text(item, self.limits.max_image_bytes)
                admit(data, self._image_limits)
            except ImageTooLarge as error:
                message, param = f"Image {index}: {error}", f"input[{index}]"
                raise TooLarge(message, param=param, code=ErrorCode.IMAGE_TOO_LARGE) from None
            except InvalidImage as error:
                raise InvalidInputImage(f"Image {index}: {error}", param=f"input[{index}]") from None
            images.append((sha256_hex(data), data))
        return Submission(tuple(images), parsed.encoding_format)

    def _too_large(self, size: str) -> TooLarge:
        return TooLarge(
            f"The body has {size} bytes; at most {self.limits.max_request_bytes:,} are accepted. "
            "Send fewer images in a request."
        )


def _parse_json(data: bytes) -> _Parsed:
    try:
        body = EmbeddingRequest.model_validate_json(data)
    except ValidationError as error:
        # Only the place and the rule: the text of the input would put image bytes into answers and logs.
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        param = ".".join(str(part) for part in first["loc"] if part not in ("str", "list[str]")) or None
        where = param or "The body"
        raise InvalidRequest(f"{where}: {first['msg']}.", param=param) from None
    images = [body.input] if isinstance(body.input, str) else body.input
    return _Parsed(images, body.model, body.encoding_format)


def _from_text(text: str, max_image_bytes: int) -> bytes:
    """A base64 ``data:`` URL or bare base64 -> bytes."""
    if text.startswith(("http://", "https://")):
        raise InvalidImage("URLs of remote images are not accepted; send the image's bytes as base64.")
    encoded = text
    if text.startswith("data:"):
        head, comma, encoded = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise InvalidImage("This data: URL is not base64; write data:image/jpeg;base64,...")
    if len(encoded) * 3 // 4 > max_image_bytes + 2:
        raise ImageTooLarge(
            f"The image has about {len(encoded) * 3 // 4:,} bytes; at most {max_image_bytes:,} are accepted."
        )
    try:
        return binascii.a2b_base64(encoded, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidImage(f"Not valid base64: {error}.") from None
