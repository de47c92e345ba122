"""What a service states of its teacher, where an evaluation has to know it.

In: the description on the model card, of which the revision is the digest. Out: the weights and how images
are prepared, or None for what a service leaves unsaid.
"""

from collections.abc import Mapping
from typing import Any


def weights(description: Mapping[str, Any]) -> str | None:
    """Digest of the weights, as :func:`shared.checkpoints.weights_digest` forms it."""
    stated = description.get("weights")
    return stated if isinstance(stated, str) else None


def longest_side_px(description: Mapping[str, Any]) -> int | None:
    """To which images are shrunk."""
    side = _preprocessing(description).get("longest_side_px")
    return side if isinstance(side, int) and side > 0 else None


def turns_upright(description: Mapping[str, Any]) -> bool:
    """Whether photographs are turned by their EXIF orientation; True unless it is denied."""
    return _preprocessing(description).get("apply_exif") is not False


def _preprocessing(description: Mapping[str, Any]) -> Mapping[str, Any]:
    preprocessing = description.get("preprocessing")
    return preprocessing if isinstance(preprocessing, Mapping) else {}
