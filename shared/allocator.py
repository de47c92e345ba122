"""Memory that a network has freed stays with the process, for the next layer to take.

In: nothing. Out: glibc's allocator, told so. As it comes, it maps every large tensor anew and gives it back
as soon as it is free; the operating system then clears each page again, which on a CPU can take several times
as long as the convolution that writes there (docs/benchmarks.md, "Fresh pages").
"""

import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Names of ``mallopt``'s options, from glibc's ``malloc.h``."""
KEPT_BYTES = 2**30
"""Free memory at the end of the heap that is kept. Tensors above it are mapped as before."""


def keep_pages() -> bool:
    """Have this process keep what it frees; to be called before it starts threads.

    All threads share one heap: those that glibc gives to other threads end at 64 MiB, below many a tensor. Of
    its end a gibibyte is kept, and before that whatever lies below something that is in use: so a process
    may stay as large as it once was, until :func:`give_back_pages`.

    Returns:
        Whether it does. Nothing is changed on a C library that is not glibc, and where the environment has
        settings of its own (``MALLOC_...``, ``GLIBC_TUNABLES``).
    """
    libc = _glibc()
    if libc is None or any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return False
    options = ((_M_MMAP_THRESHOLD, KEPT_BYTES), (_M_TRIM_THRESHOLD, KEPT_BYTES), (_M_ARENA_MAX, 1))
    return all([libc.mallopt(name, value) for name, value in options])


def give_back_pages() -> None:
    """Give all free pages back to the system, between two pieces of work; nothing without glibc."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018 - musl has a mallopt that does nothing
    except (AttributeError, OSError, TypeError):
        return None
    return libc
