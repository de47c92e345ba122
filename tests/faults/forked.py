"""The program of the zygote: it loads the heavy modules once, and forks a process for each life.

In: on an inherited socket, one JSON order at a time, with the write end of a pipe. Out, on that pipe: the
process id, then whatever the life prints, and after its death its exit status. A life is a service, with
the point of a request at which it kills itself, or a verb of the trainer.

Without this, the imports of a service (seconds) would be nearly all of the time between two kills.
"""

import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from typing import Any, NoReturn

from lifeline import die_with_parent

MAX_ORDER_BYTES = 65_536
MODULES = (
    "redis.asyncio",
    "student_trainer.acquire.audit",
    "student_trainer.acquire.commands",
    "student_trainer.acquire.session",
    "student_trainer.cli",
    "teacher_service.app",
    "teacher_service.cli",
    "teacher_service.serve",
    "uvicorn.protocols.http.httptools_impl",
    "uvloop",
)
"""Loaded before the first fork: the programs, and what they would load only when they run."""


def main() -> None:
    """Take orders until the socket is closed; no life outlasts the zygote."""
    orders = socket.socket(fileno=int(sys.argv[1]))
    _load()
    wake_up, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    pipes: dict[int, int] = {}
    orders.send(b"ready")
    while True:
        ready, _, _ = select.select([orders, wake_up], [], [])
        if wake_up in ready:
            os.read(wake_up, 512)
            _bury(pipes)
        if orders in ready:
            data, descriptors, _, _ = socket.recv_fds(orders, MAX_ORDER_BYTES, 1)
            if not data:
                break
            _give_birth(json.loads(data), descriptors[0], pipes, orders)
    for pid in pipes:
        os.kill(pid, signal.SIGKILL)


def _load() -> None:
    import torch

    torch.set_num_threads(1)
    for module in MODULES:
        importlib.import_module(module)


def _bury(pipes: dict[int, int]) -> None:
    """Report the exit status of every life that has ended."""
    while pipes:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        _tell(pipes[pid], {"status": os.waitstatus_to_exitcode(status)})
        os.close(pipes.pop(pid))


def _give_birth(order: dict[str, Any], pipe: int, pipes: dict[int, int], orders: socket.socket) -> None:
    zygote = os.getpid()
    pid = os.fork()
    if pid == 0:
        die_with_parent(zygote)
        orders.close()
        for sibling in pipes.values():
            os.close(sibling)
        _live(order, pipe)
    pipes[pid] = pipe


def _live(order: dict[str, Any], pipe: int) -> NoReturn:
    """In the child: take the pipe for standard output and do what was ordered."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        errors = os.open(order["errors"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for source, target in ((os.open(os.devnull, os.O_RDONLY), 0), (pipe, 1), (errors, 2)):
            os.dup2(source, target)
            os.close(source)
        _tell(1, {"pid": os.getpid()})
        code = _serve(**order["serve"]) if "serve" in order else _trainer(**order["trainer"])
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _serve(settings: dict[str, Any], point: str | None, passage: int) -> int:
    """``teacher-service serve`` as it is, but for the point of a request at which it dies."""
    from faults.kill_points import arm

    from teacher_service import app, cli

    create_app = app.create_app

    def create_armed_app(settings: Any) -> Any:
        created = create_app(settings)
        if point is not None:
            arm(created, point, passage)
        return created

    app.create_app = create_armed_app
    os.environ.update({f"TEACHER_{name.upper()}": str(value) for name, value in settings.items()})
    sys.argv = ["teacher-service", "serve", "--json"]
    cli.main()
    return 0


def _trainer(arguments: list[str], environment: dict[str, str], point: str | None, passage: int) -> int:
    """A verb of ``student-trainer``."""
    from faults.kill_points import arm_trainer

    from student_trainer import cli

    os.environ.update(environment)
    if point is not None:
        arm_trainer(point, passage)
    sys.argv = ["student-trainer", *arguments]
    cli.main()
    return 0


def _tell(pipe: int, fact: dict[str, int]) -> None:
    try:
        os.write(pipe, json.dumps(fact).encode() + b"\n")
    except BrokenPipeError:  # nobody reads what became of this life
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)


if __name__ == "__main__":
    main()
