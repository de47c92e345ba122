"""Processes that tests start: none outlives the run of the tests, even one that was killed.

In: a command. Out: a ``Popen`` of it. As a program: binds itself to its parent, then becomes the command.

On Linux the kernel kills such a process when the thread that started it ends, so one thread starts them all
and lives as long as the run. Elsewhere they are ordinary processes.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_PR_SET_PDEATHSIG = 1
_STARTER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starter")


def start(command: Sequence[str | os.PathLike[str]], **options: Any) -> "subprocess.Popen[Any]":
    """``Popen(command, **options)``, with the pid of the command itself.

    The command is run by way of this file, as a ``preexec_fn`` could deadlock among the threads of a test.
    """
    by_way = [sys.executable, "-I", "-S", __file__, str(os.getpid())]
    return _STARTER.submit(subprocess.Popen, [*by_way, *command], **options).result()


def die_with_parent(parent: int) -> None:
    """From now on this process is killed when its parent dies; at once if that has happened already.

    Args:
        parent: the pid that it had when this process began.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
