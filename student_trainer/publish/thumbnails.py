"""Photographs as small data URIs, so that a page needs no other file.

In: image paths. Out: ``data:image/jpeg;base64,...``, or None for a file that is gone or unreadable.
Nothing but pixels goes in: no EXIF, no place, no camera.
"""

import base64
import io
from pathlib import Path

from shared.images import InvalidImage, decode, resize

JPEG_QUALITY = 78


class Thumbnails:
    """Makes each thumbnail once; the same photograph stands in many rankings."""

    def __init__(self, root: Path, longest_side_px: int = 120) -> None:
        self._root = root
        self._longest_side_px = longest_side_px
        self._made: dict[str, str | None] = {}

    def uri(self, path: str) -> str | None:
        """The thumbnail of ``path`` (relative to the root)."""
        if path not in self._made:
            self._made[path] = self._make(self._root / path)
        return self._made[path]

    def _make(self, path: Path) -> str | None:
        try:
            image = resize(decode(path), self._longest_side_px)
        except (OSError, InvalidImage):
            return None
        encoded = io.BytesIO()
        image.save(encoded, format="JPEG", quality=JPEG_QUALITY, optimize=True)
        return "data:image/jpeg;base64," + base64.b64encode(encoded.getvalue()).decode("ascii")
