"""New charges through the whole service: every image is new to the key and its descriptor is in the cache.

In: where the service keeps its state. Out: how fast one key after the other buys the same images.
"""

import io
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import httpx
import numpy as np
from PIL import Image

from benchmarks.http_load import post, requests_per_s
from benchmarks.processes import SERVE, process
from shared.protocol import EMBEDDINGS_PATH, OCTET_STREAM

IMAGES = 300
KEYS_A_ROUND = 5
_ARCH, _IMAGE_SIZE = "mobilenet_v2-320x0.1", 64


@contextmanager
def charges_over_http(data_dir: Path, ledger_url: str, clients: int) -> Iterator[Callable[[], float]]:
    """A service in a process of its own; calling what is yielded runs one round: charges per second."""
    admin_key = secrets.token_hex(32)
    flags = ["--arch", _ARCH, "--image-size", str(_IMAGE_SIZE), "--port", "0", "--log-level", "warning"]
    flags += ["--data-dir", str(data_dir), "--ledger", ledger_url]
    images = [_image(seed) for seed in range(IMAGES)]
    with (
        mock.patch.dict(os.environ, {"TEACHER_ADMIN_KEY": admin_key}),
        process(SERVE, "serve", *flags) as service,
    ):

        def buy_all() -> list[bytes]:
            headers = {"Content-Type": "image/png", "Accept": OCTET_STREAM}
            headers["Authorization"] = f"Bearer {_new_key(service.address, admin_key)}"
            return [post(EMBEDDINGS_PATH, image, headers) for image in images]

        requests_per_s(service.address, buy_all(), clients)  # computes the descriptors

        def round_() -> float:
            requests = [request for _ in range(KEYS_A_ROUND) for request in buy_all()]
            return requests_per_s(service.address, requests, clients)

        yield round_


def _new_key(address: str, admin_key: str) -> str:
    made = httpx.post(
        f"{address}/v1/admin/keys",
        json={"name": "benchmark", "budget": IMAGES},
        headers={"Authorization": f"Bearer {admin_key}"},
        trust_env=False,
    )
    key: str = made.raise_for_status().json()["key"]
    return key


def _image(seed: int) -> bytes:
    """A small PNG of about two kilobytes."""
    pixels = np.random.default_rng(seed).integers(0, 255, (24, 28, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()
