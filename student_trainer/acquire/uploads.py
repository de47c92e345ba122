"""Planned images, read again just before they are sent: only what was planned leaves this machine.

In: planned images. Out: their bytes, and for each that is not what was planned any more, the reason.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from shared.digest import sha256_hex
from student_trainer.acquire.client import Upload
from student_trainer.acquire.records import PlannedImage


async def load(
    images: Sequence[PlannedImage],
) -> tuple[dict[PlannedImage, Upload], dict[Path, str]]:
    """Read files in a thread.

    Returns:
        What can be sent, and the reasons why the others cannot.
    """
    uploads: dict[PlannedImage, Upload] = {}
    changed: dict[Path, str] = {}
    for image in images:
        try:
            data = await asyncio.to_thread(_read_planned, image)
        except OSError as error:
            changed[image.path] = f"cannot be read any more ({error.strerror})"
            continue
        if data is None:
            changed[image.path] = "is not the file that was planned any more"
            continue
        uploads[image] = Upload(data, f"image/{image.format.lower()}")
    return uploads, changed


def _read_planned(image: PlannedImage) -> bytes | None:
    """The file's bytes; None if they are not those that were planned. Raises OSError."""
    if image.path.stat().st_size != image.bytes:
        return None
    data = image.path.read_bytes()
    return data if sha256_hex(data) == image.digest else None
