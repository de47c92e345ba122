"""The service beside what it is made of: images per second beside the bare network, CPU beside a bare echo.

In: nothing. Out: two tables on standard output. Both sides of a comparison run in turns, the
service as a process of its own, as a user starts it.

    python -m benchmarks.serving
"""

import io
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import torch
from PIL import Image

from benchmarks.processes import ECHO, SERVE, Served, process
from shared.allocator import keep_pages
from shared.protocol import EMBEDDINGS_PATH, OCTET_STREAM
from teacher_service.inference.teacher import Teacher, build_teacher
from teacher_service.settings import Settings

ARCH = "resnet101-gem"
IMAGE_SIZE = 362
PHOTOGRAPH = (1024, 768)
LARGE_PHOTOGRAPH = (2304, 1728)
CLIENTS = 8
"""Concurrent clients, and the bare network's batch size: the service cannot see more images at once."""
ROUNDS = 3
IMAGES_A_ROUND = 16
REPLAYS_A_ROUND = 150
REPLAY_ROUNDS = 16


def run() -> None:
    """Print both tables and the environment they were measured in."""
    keep_pages()  # as the commands do
    where = f"{platform.platform()}, {os.cpu_count()} cores, torch {torch.__version__}"
    print(f"{where}, load before {os.getloadavg()[0]:.1f} (on a busy machine these numbers mean little)")
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        key = _make_key(data_dir)
        flags = ["--arch", ARCH, "--image-size", str(IMAGE_SIZE), "--port", "0", "--data-dir", folder]
        with process(SERVE, "serve", *flags) as service, process(ECHO) as echo:
            _report_throughput(service, key)
            _report_cpu(service, echo, key)


def _report_throughput(service: Served, key: str) -> None:
    teacher = build_teacher(Settings(arch=ARCH, image_size=IMAGE_SIZE))
    rates: dict[str, list[float]] = {"network alone": [], "decode + network": [], "service": []}
    for turn in range(ROUNDS + 1):
        images = [_photograph(turn * IMAGES_A_ROUND + n) for n in range(IMAGES_A_ROUND)]
        measured = (
            _network_rate(teacher, images),
            _pipeline_rate(teacher, images),
            _service_rate(service, key, images),
        )
        if turn:  # the first warms up
            for name, rate in zip(rates, measured, strict=True):
                rates[name].append(rate)
    print(f"\n{ARCH}, {IMAGE_SIZE} px, {CLIENTS} clients with one image each, batches of {CLIENTS}")
    print(f"{'':<18}{'images/s':>10}{'of network alone':>20}{'of decode + network':>22}")
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, rate in medians.items():
        alone, piped = rate / medians["network alone"], rate / medians["decode + network"]
        print(f"{name:<18}{rate:>10.2f}{alone:>20.2f}{piped:>22.2f}")


def _report_cpu(service: Served, echo: Served, key: str) -> None:
    headers = {"Content-Type": "image/jpeg", "Accept": OCTET_STREAM, "Authorization": f"Bearer {key}"}
    print(f"\nServer CPU of one request with a raw body, {CLIENTS} clients at once")
    print(f"{'body, bytes':>12}{'echo, ms':>12}{'replay, ms':>12}{'replay / echo':>16}")
    for size in (PHOTOGRAPH, LARGE_PHOTOGRAPH):
        body = _photograph(1, size)
        echoes, replays = [], []
        for turn in range(REPLAY_ROUNDS + 1):
            echo_ms = _cpu_ms(echo, "/", body, headers)
            replay_ms = _cpu_ms(service, EMBEDDINGS_PATH, body, headers)
            if turn:  # the first buys the image, and warms up
                echoes.append(echo_ms)
                replays.append(replay_ms)
        # The lowest of many short rounds: other work on the machine only ever adds.
        echo_ms, replay_ms = min(echoes), min(replays)
        print(f"{len(body):>12,}{echo_ms:>12.3f}{replay_ms:>12.3f}{replay_ms / echo_ms:>16.2f}")


def _network_rate(teacher: Teacher, images: list[bytes]) -> float:
    pixels = [teacher.load(image) for image in images]
    started_s = time.perf_counter()
    for at in range(0, len(pixels), CLIENTS):
        batch = np.stack(pixels[at : at + CLIENTS])
        teacher.describe(batch, [""] * len(batch))
    return len(images) / (time.perf_counter() - started_s)


def _pipeline_rate(teacher: Teacher, images: list[bytes]) -> float:
    started_s = time.perf_counter()
    for at in range(0, len(images), CLIENTS):
        batch = np.stack([teacher.load(image) for image in images[at : at + CLIENTS]])
        teacher.describe(batch, [""] * len(batch))
    return len(images) / (time.perf_counter() - started_s)


def _service_rate(service: Served, key: str, images: list[bytes]) -> float:
    """Eight clients, each on a connection of its own, take the images in turn; each buys one at a time."""
    headers = {"Content-Type": "image/jpeg", "Accept": OCTET_STREAM, "Authorization": f"Bearer {key}"}
    started_s = time.perf_counter()
    _post_all(service, EMBEDDINGS_PATH, images, headers)
    return len(images) / (time.perf_counter() - started_s)


def _cpu_ms(server: Served, path: str, body: bytes, headers: dict[str, str]) -> float:
    """User and system time of all the server's threads, for one of many equal requests."""
    before_s = server.cpu_s()
    _post_all(server, path, [body] * REPLAYS_A_ROUND, headers)
    return (server.cpu_s() - before_s) / REPLAYS_A_ROUND * 1000


def _post_all(server: Served, path: str, bodies: list[bytes], headers: dict[str, str]) -> None:
    waiting = iter(bodies)
    taking = threading.Lock()
    failures: list[BaseException] = []

    def client() -> None:
        try:
            with server.client() as http:
                while True:
                    with taking:
                        body = next(waiting, None)
                    if body is None:
                        return
                    http.post(path, content=body, headers=headers).raise_for_status()
        except httpx.HTTPError as error:
            failures.append(error)

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def _photograph(seed: int, size: tuple[int, int] = PHOTOGRAPH) -> bytes:
    """A JPEG of smooth colours with grain, about a quarter of a byte for each pixel."""
    rng = np.random.default_rng(seed)
    rough = rng.integers(0, 255, (96, 128, 3), dtype=np.uint8)
    smooth = Image.fromarray(rough).resize(size, Image.Resampling.BICUBIC)
    grain = rng.normal(0, 6, (size[1], size[0], 3))
    pixels = np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=80)
    return out.getvalue()


def _make_key(data_dir: Path) -> str:
    """A key with budget for everything and no rate limit."""
    command = [sys.executable, "-c", SERVE, "keys", "create", "benchmark", "--budget", "100000"]
    made = subprocess.run(
        [*command, "--data-dir", str(data_dir)], stdout=subprocess.PIPE, text=True, check=True
    )
    return made.stdout.strip()


if __name__ == "__main__":
    run()
