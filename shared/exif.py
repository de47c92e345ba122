"""The EXIF orientation of photographs: which way the camera was held.

In: an opened image, or the path of one. Out: what makes it upright. Damaged EXIF turns nothing: it does not
make pixels unusable.
"""

from pathlib import Path
from typing import Any

from PIL import Image

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """What turns or flips an image upright; None where it is, or does not say."""
    try:
        value: Any = image.getexif().get(_ORIENTATION, 1)
        return _UPRIGHT.get(int(value))
    except Exception:
        return None


def is_turned(path: Path) -> bool:
    """Whether a photograph would be turned or flipped; no for what cannot be opened, decoding says why."""
    try:
        with Image.open(path) as opened:
            return turn_of(opened) is not None
    # Pillow's readers raise a dozen types on damaged files.
    except Exception:
        return False
