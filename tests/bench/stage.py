"""Where measured processes run: each started as a child on a core of its own, with the settings of a bench."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson

CORES = os.sched_getaffinity(0)


class Child:
    """A measured process. `tell` sends it a line, `hear` reads its next JSON line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    def tell(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")

    async def hear(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a measured process ended with {await self.process.wait()}")
        heard: dict[str, float] = orjson.loads(line)
        return heard


@asynccontextmanager
async def child(*arguments: str, env: dict[str, str], pinned: bool = True) -> AsyncIterator[Child]:
    """`pinned`: to the first core, which nobody else then has; else it shares all of them."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.child",
        *arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **env, "BENCH_CORES": " ".join(map(str, {min(CORES)} if pinned else CORES))},
    )
    try:
        yield Child(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def environment(
    folder: Path, *, callbacks: str, provider: str = "http://127.0.0.1:9", url: str | None = None
) -> dict[str, str]:
    """`url`: of the database, where it is not a file in the folder."""
    account = "TASKRELAY_ACCOUNTS__CLOUDSWAY__"
    return {
        "TASKRELAY_DATABASE_URL": url or f"sqlite:///{folder}/bench.db",
        "TASKRELAY_SECRET_KEYS": "a-key-of-the-bench-the-same-for-all-of-its-processes",
        "TASKRELAY_PUBLIC_URL": "https://relay.example.org",
        f"{account}API_KEY": "bench",
        f"{account}BASE_URL": provider,
        f"{account}ENDPOINT_PATH": "bench",
        f"{account}CALLBACKS": callbacks,
        f"{account}RATE": "1000/s",
        "TASKRELAY_EGRESS__ALLOW": "127.0.0.0/8",
        "TASKRELAY_EGRESS__PORTS": "*",
        "TASKRELAY_LOG_LEVEL": "warning",
    }
