"""How much memory this process has needed.

In: nothing. Out: bytes, by the kernel's count.
"""

from pathlib import Path


def peak_bytes() -> int:
    """The largest resident size so far, libraries included (VmHWM)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise LookupError("/proc/self/status has no VmHWM; this benchmark needs Linux.")
