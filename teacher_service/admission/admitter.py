"""From what a body held to a submission: the right model, so many images, each admitted by its header.

In: encoded images, or text that holds them. Out: their digests and bytes; nothing is decoded.
"""

import binascii
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from shared.digest import sha256_hex
from shared.images import ImageLimits, ImageTooLarge, InvalidImage, admit
from shared.protocol import ErrorCode, ModelLimits
from teacher_service.embed import Submission
from teacher_service.errors import InvalidInputImage, InvalidRequest, ModelNotFound, TooLarge

REMEMBERED_IMAGES = 50_000
"""Digests of images that were admitted before, about 10 MB: a replay need not be looked through again."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a body held, in whichever form."""

    images: Sequence[bytes | str]
    """Encoded bytes, or text that holds them as base64."""
    model: str | None = None
    encoding_format: str = "float"
    dimensions: int | None = None


class Admitter:
    """Admits images for one model under fixed limits; may be used by several threads."""

    def __init__(self, model_id: str, dimension: int, limits: ModelLimits) -> None:
        self._model_id, self._dimension = model_id, dimension
        self._max_images, self._max_image_bytes = limits.max_images_per_request, limits.max_image_bytes
        formats = tuple(limits.formats)
        self._limits = ImageLimits(limits.max_image_bytes, limits.max_image_pixels, formats)
        self._admitted: OrderedDict[str, None] = OrderedDict()

    def admit(self, parsed: Parsed) -> Submission:
        """Check everything that can be checked without decoding.

        Raises:
            ModelNotFound, InvalidRequest: another model; another dimension, or no image.
            TooLarge, InvalidInputImage: too many images; or one of them, which ``param`` names.
        """
        if parsed.model is not None and parsed.model != self._model_id:
            raise ModelNotFound(
                f"The model {parsed.model!r} is not served here; the one that is: {self._model_id!r}.",
                param="model",
            )
        if parsed.dimensions not in (None, self._dimension):
            raise InvalidRequest(
                f"Descriptors of {parsed.dimensions} dimensions are not served; {self._model_id!r} has "
                f"{self._dimension}. Leave dimensions out.",
                param="dimensions",
            )
        if not parsed.images:
            raise InvalidRequest("The request holds no image.", param="input")
        if len(parsed.images) > self._max_images:
            raise TooLarge(
                f"The request holds {len(parsed.images)} images; at most {self._max_images} are accepted. "
                "Split it.",
                param="input",
            )
        images = tuple(self._admit_one(index, item) for index, item in enumerate(parsed.images))
        return Submission(images, parsed.encoding_format)

    def _admit_one(self, index: int, item: bytes | str) -> tuple[str, bytes]:
        try:
            data = item if isinstance(item, bytes) else _from_text(item, self._max_image_bytes)
            digest = sha256_hex(data)
            if digest not in self._admitted:
                admit(data, self._limits)
                self._remember(digest)
        except ImageTooLarge as error:
            message, param = f"Image {index}: {error}", f"input[{index}]"
            raise TooLarge(message, param=param, code=ErrorCode.IMAGE_TOO_LARGE) from None
        except InvalidImage as error:
            raise InvalidInputImage(f"Image {index}: {error}", param=f"input[{index}]") from None
        return digest, data

    def _remember(self, digest: str) -> None:
        self._admitted[digest] = None
        if len(self._admitted) > REMEMBERED_IMAGES:
            self._admitted.popitem(last=False)


def _from_text(text: str, max_image_bytes: int) -> bytes:
    """A base64 ``data:`` URL or bare base64 -> bytes."""
    if text.startswith(("http://", "https://")):
        raise InvalidImage("URLs of remote images are not accepted; send the image's bytes as base64.")
    encoded = text
    if text.startswith("data:"):
        head, comma, encoded = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise InvalidImage("This data: URL is not base64; write data:image/jpeg;base64,...")
    about = len(encoded) * 3 // 4
    if about > max_image_bytes + 2:
        raise ImageTooLarge(f"The image has about {about:,} bytes; at most {max_image_bytes:,} are accepted.")
    try:
        return binascii.a2b_base64(encoded, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidImage(f"Not valid base64: {error}.") from None
