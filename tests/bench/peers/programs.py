"""The peers: what each is called with, and what its own documentation says makes it fast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from tests.bench.peers import tools
from tests.bench.peers.ground import ROOT
from tests.bench.peers.tools import Missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """How one fills its queue and how it works. `count`: deliveries a round, a few seconds' worth."""

    name: str
    count: int
    fill: Sequence[str]
    work: Sequence[str]
    version: str
    cwd: Path = ROOT


def peers(say: Callable[[str], None]) -> list[Peer]:
    """Those that can be had here; of the others it is said why not."""
    found: list[Peer] = []
    for known in (python_peers, node_peers):
        try:
            found += known()
        except Missing as error:
            say(f"not measured: {known.__doc__}: {error}")
    return found


def python_peers() -> list[Peer]:
    """Celery, dramatiq and taskiq"""
    bin = tools.python()
    listed = tools.run(str(bin / "python"), "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check")
    versions = dict(line.split("==") for line in listed.split())

    def peer(name: str, of: str, module: str, count: int, *work: str) -> Peer:
        program, *rest = work
        fill = (str(bin / "python"), "-m", f"tests.bench.peers.{module}")
        return Peer(name=name, count=count, fill=fill, work=(str(bin / program), *rest), version=versions[of])

    app = "tests.bench.peers.on_celery"
    celery = ("celery", "-A", app, "worker", "--loglevel=ERROR", "--without-gossip", "--without-mingle")
    dramatiq = ("dramatiq", "tests.bench.peers.on_dramatiq")
    return [
        peer(
            "Celery, prefork, a process for each core", "celery", "on_celery", 3000, *celery, "-P", "prefork", "-c", "2"
        ),
        peer("Celery, 64 threads", "celery", "on_celery", 3000, *celery, "-P", "threads", "-c", "64"),
        peer("dramatiq, 2 processes of 8 threads", "dramatiq", "on_dramatiq", 4000, *dramatiq, "-p", "2", "-t", "8"),
        peer(
            "taskiq, 2 workers of 64 at once",
            "taskiq",
            "on_taskiq",
            6000,
            *("taskiq", "worker", "tests.bench.peers.on_taskiq:broker", "--workers", "2"),
            *("--max-async-tasks", "64", "--max-prefetch", "64", "--log-level", "ERROR"),
        ),
    ]


def node_peers() -> list[Peer]:
    """BullMQ"""
    folder = tools.node()
    locked = orjson.loads((folder / "package-lock.json").read_bytes())["packages"]
    version = locked["node_modules/bullmq"]["version"] + ", undici " + locked["node_modules/undici"]["version"]
    version += ", Node " + tools.run("node", "--version").strip().lstrip("v")
    fill, work = ("node", "deliver.mjs", "fill"), ("node", "deliver.mjs", "work")
    return [Peer(name="BullMQ + undici, 64 at once", count=20_000, fill=fill, work=work, version=version, cwd=folder)]
