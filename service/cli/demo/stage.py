"""The demo's processes: started together, heard until they are ready, and ended whatever happens to us."""

from __future__ import annotations

import asyncio
import ctypes
import importlib.util
import json
import os
import random
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import service
from service.cli.opening import environment
from service.cli.terminal import Stop

ROOT = Path(service.__file__).parent.parent
READY_SECONDS = 30.0
END_SECONDS = 35.0  # a taskrelay that is told to stop first finishes what is in flight
LONGEST_LINE = 1 << 20
PORTS = range(20_000, 32_000)
HELD = 64  # ports at a time: a session of tests takes hundreds, and each is a descriptor
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>

_held: deque[int] = deque()


class StageError(Exception):
    """A process did not come up or went away; the text says which and where its log is."""


@dataclass(slots=True, kw_only=True)
class Child:
    """A running process of ours. `facts`: what it said when it was ready."""

    name: str
    running: asyncio.subprocess.Process
    log: Path
    ready: asyncio.Future[Mapping[str, object]]
    pump: asyncio.Task[None] = field(repr=False)

    @property
    def url(self) -> str:
        return str(self.ready.result()["url"])


class Stage:
    """Starts and ends the processes. Use it as a context: nothing it started outlives it.

    They run in `folder`, where each has its log. `hear`: called with the name and every line one says.
    """

    def __init__(self, folder: Path, hear: Callable[[str, bytes], None] | None = None) -> None:
        self.folder = folder
        self.children: list[Child] = []
        self._hear = hear
        self._logs: set[Path] = set()

    async def __aenter__(self) -> Stage:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(_end(child) for child in self.children))

    async def start(self, name: str, command: Sequence[str], settings: Mapping[str, str] | None = None) -> Child:
        """Start a command of ours and wait until it says that it is ready. Raises `StageError`."""
        child = await self.spawn(name, command, settings)
        await until_ready(child)
        return child

    async def spawn(self, name: str, command: Sequence[str], settings: Mapping[str, str] | None = None) -> Child:
        """Start a command of ours. A second one of the same name writes on in the log of the first."""
        log = self.folder / f"{name}.log"
        if log not in self._logs:
            self._logs.add(log)
            log.unlink(missing_ok=True)
        running = await asyncio.create_subprocess_exec(
            *our_command(*command),
            cwd=self.folder,  # a taskrelay.toml where we were called is none of the demo's
            env=clean_environment() | dict(settings or {}),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours alone; we pass it on in order
            preexec_fn=partial(_die_with_parent, os.getpid()) if sys.platform == "linux" else None,
            limit=LONGEST_LINE,
        )
        ready: asyncio.Future[Mapping[str, object]] = asyncio.get_running_loop().create_future()
        pump = asyncio.create_task(_pump(running, log, ready, partial(self._hear, name) if self._hear else None))
        child = Child(name=name, running=running, log=log, ready=ready, pump=pump)
        self.children.append(child)
        return child

    async def kill(self, child: Child) -> None:
        """End one of them at once: SIGKILL, which leaves it no last word. It is no longer missed."""
        with suppress(ProcessLookupError):
            os.killpg(child.running.pid, signal.SIGKILL)
        await child.pump
        self.children.remove(child)

    def ended(self) -> Child | None:
        """A process that went away although nobody told it to."""
        return next((child for child in self.children if child.running.returncode is not None), None)


async def until_ready(child: Child) -> None:
    """Until it says that it is ready. Raises `StageError`."""
    try:
        async with asyncio.timeout(READY_SECONDS):
            await asyncio.shield(child.ready)
    except (TimeoutError, EOFError):
        raise StageError(f"{child.name} did not come up; it said: {_last_words(child.log)}") from None


async def run_once(
    folder: Path, command: Sequence[str], settings: Mapping[str, str], *, fine: Sequence[int] = (0,)
) -> Mapping[str, Any]:
    """Run a command of ours to its end and return the JSON document it printed. Raises `StageError`.

    `fine`: the exit codes with which there is one.
    """
    running = await asyncio.create_subprocess_exec(
        *our_command(*command),
        cwd=folder,
        env=clean_environment() | dict(settings),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=partial(_die_with_parent, os.getpid()) if sys.platform == "linux" else None,
    )
    try:
        out, err = await running.communicate()
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()
    if running.returncode not in fine or not out:
        raise StageError(f"taskrelay {' '.join(command[:2])} failed: {_detail(err.decode(errors='replace').strip())}")
    document: Mapping[str, Any] = json.loads(out)
    return document


def need_verifier(command: str) -> None:
    """The subscriber's independent opinion on our signatures. Raises `Stop` where it is not installed."""
    if importlib.util.find_spec("standardwebhooks") is None:
        raise Stop(
            f"{command}: signatures are checked with the published standardwebhooks package, which is not installed.\n"
            "    pip install 'standardwebhooks>=1.1,<2'   (or install taskrelay with its demo extra: taskrelay[demo])"
        )


def our_command(*arguments: str) -> list[str]:
    """How to run this very taskrelay again, installed or not, whatever lies in the current folder."""
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from service.cli import main; main()"
    return [sys.executable, "-P", "-c", start, *arguments]


def clean_environment() -> dict[str, str]:
    """The environment without settings of a real taskrelay, which must not be touched by a demo."""
    return {name: value for name, value in environment().items() if not name.upper().startswith("TASKRELAY_")}


def free_port() -> int:
    """A port of this machine that is ours from now on: for a process we start, and for the one that takes its place.

    Below those the kernel gives to outgoing connections (from 32768 on Linux): one of these could take it while a service is
    down, even the very connection that asks for that service. And held, bound but closed to connections, so that nobody who
    looks for one at the same time finds it: on Linux a socket that permits it shares its port with the one that listens.
    """
    for number in random.sample(PORTS, 100):
        holder = socket.socket()
        try:
            holder.bind(("127.0.0.1", number))  # alone: fails where anybody holds it
        except OSError:
            holder.close()
            continue
        if sys.platform == "linux":
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _held.append(holder.detach())  # until the process ends: no object that would warn of being left open
            if len(_held) > HELD:
                os.close(_held.popleft())
        else:
            holder.close()
        return number
    raise StageError(f"no port from {PORTS.start} to {PORTS.stop - 1} of 127.0.0.1 is free")


async def _pump(
    running: asyncio.subprocess.Process,
    log: Path,
    ready: asyncio.Future[Mapping[str, object]],
    hear: Callable[[bytes], None] | None,
) -> None:
    """Copy what the process says into its log, and notice the line that says it is ready."""
    assert running.stdout is not None
    with log.open("ab") as file:
        async for line in running.stdout:
            file.write(line)
            file.flush()
            if hear is not None:
                hear(line)
            if not ready.done() and (facts := _facts(line)) is not None:
                ready.set_result(facts)
    await running.wait()
    if not ready.done():
        ready.set_exception(EOFError())
        ready.exception()  # whoever waited may be gone


def _facts(line: bytes) -> Mapping[str, object] | None:
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return said if isinstance(said, dict) and ("ready" in said or said.get("text") == "ready") else None


def _last_words(log: Path) -> str:
    words = log.read_text(errors="replace").strip().splitlines()
    return _detail(words[-1]) if words else "nothing"


def _detail(said: str) -> str:
    """Of an error that was told as a document, its words."""
    try:
        return str(json.loads(said)["error"]["detail"])
    except (ValueError, TypeError, KeyError):
        return said


async def _end(child: Child) -> None:
    """End a process and everything it started: politely, then not."""
    for number, seconds in ((signal.SIGTERM, END_SECONDS), (signal.SIGKILL, END_SECONDS)):
        if child.running.returncode is not None:
            break
        try:
            os.killpg(child.running.pid, number)
        except ProcessLookupError:
            break
        try:
            async with asyncio.timeout(seconds):
                await child.running.wait()
        except TimeoutError:
            continue
    await child.pump


def _die_with_parent(parent: int) -> None:
    """In the child: the kernel ends it should we be killed without a chance to."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # killed already, so the signal would never come
        os._exit(1)
