"""A streaming reader of ``multipart/form-data`` that keeps its limits while the body arrives.

In: chunks of a body. Out: the bytes of its images, in order, and the few text fields that are understood.
Parts stay in memory: the limits on images and on the whole body bound them.
"""

from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from shared.protocol import MULTIPART_FIELD, ErrorCode
from teacher_service.errors import InvalidRequest, TooLarge

TEXT_FIELDS = ("model", "encoding_format")
MAX_TEXT_BYTES = 1_000


@dataclass(slots=True)
class _Part:
    header: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)
    disposition: bytes = b""
    name: str = ""
    data: bytearray = field(default_factory=bytearray)


class MultipartImages:
    """Feed chunks, then :meth:`finish`."""

    def __init__(self, content_type: str, *, max_images: int, max_image_bytes: int) -> None:
        """Raises InvalidRequest if the content type names no usable boundary."""
        self.fields: dict[str, str] = {}
        self._images: list[bytes] = []
        self._max_images, self._max_image_bytes = max_images, max_image_bytes
        self._part = _Part()
        self._ended = False
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise InvalidRequest("multipart/form-data needs a boundary in its Content-Type.")
        try:
            self._parser = MultipartParser(boundary, self._callbacks())  # type: ignore[arg-type]
        except FormParserError as error:
            raise InvalidRequest(f"Malformed multipart body: {error}.") from None

    def feed(self, chunk: bytes) -> None:
        """Take in one piece of the body.

        Raises:
            InvalidRequest: malformed, or a field that is not understood.
            TooLarge: an image has too many bytes, or there are too many images.
        """
        if not chunk:
            return
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise InvalidRequest(f"Malformed multipart body: {error}.") from None

    def finish(self) -> list[bytes]:
        """The images, in order. Raises InvalidRequest if the body was cut."""
        if not self._ended:
            raise InvalidRequest("The multipart body ends before its closing boundary.")
        return self._images

    def _callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._part.header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._part.value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_headers_finished": self._open,
            "on_part_data": self._take,
            "on_part_end": self._close,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._part = _Part()

    def _header(self) -> None:
        part = self._part
        if part.header.lower() == b"content-disposition":
            part.disposition = bytes(part.value)
        part.header, part.value = bytearray(), bytearray()

    def _open(self) -> None:
        _, options = parse_options_header(self._part.disposition.decode("latin-1"))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name not in (MULTIPART_FIELD, *TEXT_FIELDS):
            raise InvalidRequest(
                f"The form field {name!r} is not understood: repeat {MULTIPART_FIELD!r} for each image; "
                f"{' and '.join(TEXT_FIELDS)} may be set.",
                param=name or None,
            )
        if name == MULTIPART_FIELD and len(self._images) >= self._max_images:
            raise TooLarge(
                f"The request holds more than {self._max_images} images. Split it.", param=MULTIPART_FIELD
            )
        self._part.name = name

    def _take(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        part.data += memoryview(data)[start:end]
        if part.name != MULTIPART_FIELD and len(part.data) > MAX_TEXT_BYTES:
            raise InvalidRequest(
                f"The form field {part.name!r} has more than {MAX_TEXT_BYTES} bytes.", param=part.name
            )
        if len(part.data) > self._max_image_bytes:
            index = len(self._images)
            raise TooLarge(
                f"Image {index} has more than {self._max_image_bytes:,} bytes.",
                param=f"input[{index}]",
                code=ErrorCode.IMAGE_TOO_LARGE,
            )

    def _close(self) -> None:
        if self._part.name == MULTIPART_FIELD:
            self._images.append(bytes(self._part.data))
        else:
            self.fields[self._part.name] = self._part.data.decode("utf-8", "replace")
        self._part = _Part()

    def _end(self) -> None:
        self._ended = True
