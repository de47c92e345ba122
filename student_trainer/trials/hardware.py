"""What a number was computed on and with.

In: nothing. Out: one line about the machine, and the versions that matter.
"""

import os
import platform
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

_CPU_FACTS = Path("/proc/cpuinfo")


@lru_cache
def hardware() -> str:
    """``2 cores of AMD EPYC 7B13, no GPU``."""
    import torch  # takes a second, and is loaded anyway where something was computed

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{cores} cores of {_processor()}, {card}"


def versions() -> dict[str, str]:
    """Of this package and of what computes."""
    return {"python": platform.python_version()} | {
        name: version(name) for name in ("ration", "torch", "numpy")
    }


def _processor() -> str:
    try:
        lines = _CPU_FACTS.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
