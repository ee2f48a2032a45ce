"""Starts lives cheaply: a process that has imported the service and forks one child for each, as `taskrelay` would run.

A fresh interpreter takes 0.6 s of processor time until it is ready, nearly all of it imports; a thousand kills are a
thousand starts. Each child is a process of its own that shares nothing with the others but code. Orders come as lines of
JSON on stdin, and what became of them goes to stdout.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import select
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

READ = 65_536


def main() -> None:
    """Serve orders until stdin ends; whoever still lives then is killed."""
    _warm()
    woken, waker = socket.socketpair()
    for end in (woken, waker):
        end.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    living: set[int] = set()
    rest = b""
    _say({"warm": True})
    while True:
        ready, _, _ = select.select([0, woken.fileno()], [], [])
        if woken.fileno() in ready:
            woken.recv(READ)
            _bury(living)
        if 0 in ready:
            chunk = os.read(0, READ)
            if not chunk:
                break
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                _obey(json.loads(line), living)
    for pid in living:
        os.kill(pid, signal.SIGKILL)


def _warm() -> None:
    import uvicorn.lifespan.off
    import uvicorn.lifespan.on
    import uvicorn.protocols.http.httptools_impl
    import uvloop

    import service.api.app
    import service.bootstrap.door
    import service.bootstrap.opening
    import service.cli
    import service.runtime
    import service.telemetry.log
    import storage.postgres
    import storage.sqlite

    for loaded in (uvicorn, uvloop, service, storage):
        assert loaded is not None
    gc.collect()
    gc.freeze()


def _obey(order: Mapping[str, Any], living: set[int]) -> None:
    if "signal" in order:
        if order["pid"] in living:  # only this process buries them, so the number is nobody else's yet
            os.kill(order["pid"], order["signal"])
        return
    pid = os.fork()
    if pid == 0:
        _live(order)
    living.add(pid)
    _say({"born": order["born"], "pid": pid})


def _live(order: Mapping[str, Any]) -> None:
    """The child: what a shell would have set up, then the command."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, descriptor)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    random.seed()
    sys.argv = ["taskrelay", *order["arguments"]]
    code = 1
    try:
        from service.cli import main as command

        command()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _bury(living: set[int]) -> None:
    for pid in list(living):
        gone, status = os.waitpid(pid, os.WNOHANG)
        if gone:
            living.discard(pid)
            _say({"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def _say(what: Mapping[str, object]) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


class Life:
    """One process of ours."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self.pid = pid
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def over(self) -> bool:
        return self.ended.done()

    def signal(self, number: signal.Signals) -> None:
        self._nursery.say({"pid": self.pid, "signal": int(number)})

    async def wait(self, seconds: float) -> int | None:
        """Its exit code, negative for a signal; None when it lives on after that time."""
        done, _ = await asyncio.wait([self.ended], timeout=seconds)
        return self.ended.result() if done else None


class Nursery:
    """The other side: starts the forking process and speaks to it."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._births: list[asyncio.Future[Life]] = []
        self._lives: dict[int, Life] = {}

    async def __aenter__(self) -> Nursery:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", __name__, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        await self._process.stdout.readline()
        self._hearing = asyncio.create_task(self._hear(self._process.stdout))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None and self._process.stdin is not None and self._hearing is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._hearing

    async def run(self, *arguments: str, folder: Path, log: Path, environment: Mapping[str, str]) -> Life:
        """Start `taskrelay` with these arguments, in that folder and with that environment alone."""
        number = len(self._births)
        born: asyncio.Future[Life] = asyncio.get_running_loop().create_future()
        self._births.append(born)
        order = {"born": number, "arguments": arguments, "folder": str(folder), "log": str(log)}
        self.say({**order, "environment": dict(environment)})
        return await born

    def say(self, order: Mapping[str, object]) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")

    async def _hear(self, said: asyncio.StreamReader) -> None:
        while line := await said.readline():
            match json.loads(line):
                case {"born": int(number), "pid": int(pid)}:
                    life = self._lives[pid] = Life(self, pid)
                    self._births[number].set_result(life)
                case {"ended": int(pid), "code": int(code)}:
                    self._lives.pop(pid).ended.set_result(code)
                case other:
                    raise AssertionError(other)


if __name__ == "__main__":
    main()
