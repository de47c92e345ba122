"""What fresh pages cost a network on a CPU: glibc's allocator as it comes, beside one that keeps its pages.

In: nothing. Out: a table on standard output. Each side of a case is a fresh process; they run in turns, and
each is counted by its best. The network runs in a thread that is not the process's first, as in the service.

    python -m benchmarks.allocator
"""

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from shared.allocator import keep_pages
from shared.network import DescriptorNet, NetworkSpec, build_network, calibrate_batch_norm

TURNS = 2
CALLS = 4
"""In a turn, of which the shortest counts; one before them warms up."""


@dataclass(frozen=True)
class Case:
    """One network at one size, with a gradient or without."""

    network: str
    images: int
    height: int
    width: int
    gradient: bool = False


CASES = (
    Case("resnet101-gem", 8, 362, 272),
    Case("resnet34-gem", 32, 362, 272),
    Case("mobilenet_v2-320", 32, 362, 272),
    Case("mobilenet_v2-320", 1, 362, 272),
    Case("mobilenet_v2-320", 32, 160, 120, gradient=True),
)


@dataclass(frozen=True)
class Cost:
    """Of a call."""

    seconds: float
    peak_gigabytes: float


def run() -> None:
    """Print the table."""
    print(
        f"{platform.platform()}, {os.cpu_count()} cores, torch {torch.__version__}, "
        f"load {os.getloadavg()[0]:.1f} before\n"
    )
    head = f"{'network':<20}{'images':>8}{'size':>10}{'':>10}{'ms':>8}{'kept, ms':>10}{'faster':>8}"
    print(f"{head}{'peak GB':>9}{'kept, GB':>10}")
    for number, case in enumerate(CASES):
        turns = [(_in_a_process(number, kept=False), _in_a_process(number, kept=True)) for _ in range(TURNS)]
        fresh, kept = (min(side, key=lambda cost: cost.seconds) for side in zip(*turns, strict=True))
        size, gradient = f"{case.height}x{case.width}", "gradient" if case.gradient else ""
        print(
            f"{case.network:<20}{case.images:>8}{size:>10}{gradient:>10}"
            f"{fresh.seconds * 1e3:>8,.0f}{kept.seconds * 1e3:>10,.0f}{fresh.seconds / kept.seconds:>7.1f}x"
            f"{fresh.peak_gigabytes:>9.2f}{kept.peak_gigabytes:>10.2f}",
            flush=True,
        )
    print(f"\nLoad {os.getloadavg()[0]:.1f} after.")


def measure(case: Case, *, kept: bool) -> Cost:
    """In this process, whose allocator stays as it is chosen here.

    Raises:
        RuntimeError: the allocator cannot be told to keep pages.
    """
    if kept and not keep_pages():
        raise RuntimeError("This C library's allocator has no such option, or the environment has set it.")
    network = build_network(NetworkSpec.parse(case.network), seed=0)
    shape = (case.images, 3, case.height, case.width)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    calibrate_batch_norm(network, [images[:8]])
    network.eval()
    with ThreadPoolExecutor(1) as thread:
        seconds = thread.submit(_shortest, _call(network, images, case.gradient)).result()
    return Cost(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9)


def _call(network: DescriptorNet, images: Tensor, gradient: bool) -> Callable[[], None]:
    def describe() -> None:
        with torch.inference_mode():
            network(images)

    def learn() -> None:
        network.zero_grad()
        torch.autograd.backward(network(images).square().sum())

    return learn if gradient else describe


def _shortest(call: Callable[[], None]) -> float:
    times_s = []
    for _ in range(CALLS + 1):
        started_s = time.perf_counter()
        call()
        times_s.append(time.perf_counter() - started_s)
    return min(times_s[1:])


def _in_a_process(case: int, *, kept: bool) -> Cost:
    command = [sys.executable, "-m", "benchmarks.allocator", str(case), "kept" if kept else "fresh"]
    printed = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    return Cost(**json.loads(printed))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(vars(measure(CASES[int(sys.argv[1])], kept=sys.argv[2] == "kept"))))
    else:
        run()
