"""Replicas of the service as processes of their own, that share a data folder, a ledger and a cache on Redis.

In: settings. Out: running replicas, and keys made beside them.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lifeline
from reverse_proxy import ReverseProxy

from teacher_service.access.keys import mint
from teacher_service.settings import Settings
from teacher_service.state import open_store

TEACHER = ["--arch", "mobilenet_v2-320x0.1", "--image-size", "64", "--port", "0", "--log-level", "warning"]
PROGRAMS = Path(sys.executable).parent
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@dataclass
class Replica:
    """A running ``teacher-service serve``."""

    popen: "subprocess.Popen[str]"
    facts: dict[str, str]
    errors: Path

    @property
    def address(self) -> str:
        return self.facts["address"]


@dataclass
class Deployment:
    """Everything that compose would start."""

    replicas: list[Replica]
    proxy: ReverseProxy
    settings: Settings

    def key(self, budget: int = 1000, rate: str = "") -> str:
        """A fresh API key, made beside the replicas as the command line makes it."""
        text, new = mint("test", budget, rate)
        self.ledger(lambda ledger: ledger.create_key(new))
        return text

    def ledger(self, work: Callable[[Any], Any]) -> Any:
        """Do something with the ledger, beside the replicas."""

        async def opened() -> Any:
            ledger = open_store(self.settings, serve=False)
            await ledger.open()
            try:
                return await work(ledger)
            finally:
                await ledger.close()

        return asyncio.run(opened())


def launch(settings: Settings, errors: Path) -> "tuple[subprocess.Popen[str], Path]":
    """Start a replica and do not wait for it; several can load torch at the same time."""
    places = {"TEACHER_LEDGER": settings.ledger, "TEACHER_CACHE": settings.cache}
    with errors.open("w") as stderr:
        popen = lifeline.start(
            [PROGRAMS / "teacher-service", "serve", *TEACHER, "--data-dir", settings.data_dir, "--json"],
            env={**ENVIRONMENT, **places},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    return popen, errors


def facts_of(popen: "subprocess.Popen[str]", errors: Path) -> dict[str, str]:
    """What a replica printed once it listened."""
    assert popen.stdout is not None
    line = popen.stdout.readline()
    assert line, errors.read_text()
    facts: dict[str, str] = json.loads(line)
    return facts
