"""How the processes of one training find each other, and how they end together.

In: the environment, in which ``torchrun`` sets ``WORLD_SIZE``, ``RANK`` and the address where the processes
meet. Out: a context with :class:`Processes`, in which the first process that fails speaks for all.

Without that, a mistyped option would be reported once for each process, and a full disk together with all the
lost connections that follow from it.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from student_trainer.distil.processes import ALONE, CPU_BACKEND, GPU_BACKEND, Processes
from student_trainer.errors import INTERRUPTED, InvalidInput, TrainingFailed

PATIENCE = timedelta(hours=2)
"""Others may wait so long, for instance while the first one decodes the images. A process that dies is
noticed at once, by its connection."""
_MEETING = timedelta(minutes=5)
_FAILURE = "first failure"


@contextmanager
def together() -> Iterator[Processes]:
    """Join the other processes of this training, if there are any.

    Whatever ends the context in one process ends it in all: the first that fails raises its error, and the
    others raise SystemExit with the same exit code and say nothing.

    Raises:
        InvalidInput: the environment is not one of ``torchrun``.
        TrainingFailed: the others were not met.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield ALONE
        return
    processes, store = _join()
    try:
        yield processes
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # torchrun passes on what the terminal sent already
        spoken_for = _spoken_for(processes, store, _exit_code(error))
        if spoken_for is not None:
            raise SystemExit(spoken_for) from None
        raise
    finally:
        dist.destroy_process_group()  # or its threads abort the interpreter as it ends


def _join() -> tuple[Processes, Store]:
    try:
        rank, count, local_rank, local_count = (
            int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        )
    except (KeyError, ValueError) as error:
        raise InvalidInput(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']!r}, but the environment does not say which process "
            f"this is ({error}). Start several processes with torchrun, or unset WORLD_SIZE."
        ) from None
    processes = Processes(rank, count, local_rank, local_count)
    backend = f"cpu:{CPU_BACKEND},cuda:{GPU_BACKEND}" if torch.cuda.is_available() else CPU_BACKEND
    try:
        store, _, _ = next(rendezvous("env://", rank, count, timeout=_MEETING))
        dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise TrainingFailed(f"Process {rank} did not meet the {count - 1} others: {error}") from None
    return processes, store


def _spoken_for(processes: Processes, store: Store, exit_code: int) -> int | None:
    """The exit code of the process that failed first, or None if that is this one."""
    try:
        noted = store.compare_set(_FAILURE, "", f"{processes.rank} {exit_code}").decode()
    except RuntimeError:  # nobody is left to ask
        return None
    rank, code = map(int, noted.split())
    return None if rank == processes.rank else code


def _exit_code(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    code = getattr(error, "exit_code", 1)
    return code if isinstance(code, int) else 1
