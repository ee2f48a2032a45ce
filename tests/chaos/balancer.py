"""The balancer in front of the replicas: asks /readyz, passes each request to one that is ready, and counts what it could not.

One connection a request towards the replica. A request is passed to another replica only while nothing of it was sent:
a connection that was refused. Whatever else goes wrong is answered 503 and counted by its cause; so is every 5xx of a replica.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

LOOK_SECONDS = 0.25
READY_WITHIN_SECONDS = 1.0
SILENCES = 3  # probes without an answer, one after another, before a replica gets no more requests
CONNECT_SECONDS = 1.0
ANSWER_SECONDS = 12.0  # a paused replica takes connections and says nothing
IDLE_SECONDS = 60.0
LONGEST = 1 << 20
HOP = (b"connection", b"keep-alive", b"proxy-connection")


@dataclass(slots=True)
class Backend:
    """A replica as the balancer sees it."""

    port: int
    ready: bool = False
    silent: int = 0  # probes without an answer since the last one
    passed: int = 0


class Broken(Exception):
    """A request that came to no answer; the text is the cause."""


@dataclass(slots=True)
class Balancer:
    """Listens on one port. `trouble`: what clients saw as 5xx, by cause and kind of request."""

    ports: Sequence[int]
    backends: list[Backend] = field(init=False)
    answered: int = 0
    moved: int = 0  # requests that another replica took, because the first refused the connection
    trouble: Counter[str] = field(default_factory=Counter)
    port: int = 0
    _turn: int = 0
    _server: asyncio.Server | None = None
    _looking: list[asyncio.Task[None]] = field(default_factory=list)
    _serving: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.backends = [Backend(port) for port in self.ports]

    async def __aenter__(self) -> Balancer:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, limit=LONGEST)
        self.port = self._server.sockets[0].getsockname()[1]
        self._looking = [asyncio.create_task(self._look(backend)) for backend in self.backends]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in (*self._looking, *self._serving):
            task.cancel()
        await asyncio.gather(*self._looking, *self._serving, return_exceptions=True)
        await asyncio.sleep(0)  # a transport that was aborted closes its socket a turn later

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def until_ready(self, numbers: Sequence[int], seconds: float = 60.0) -> None:
        """Until these replicas take requests."""
        async with asyncio.timeout(seconds):
            while not all(self.backends[number].ready for number in numbers):  # noqa: ASYNC110 (looked at in turns anyway)
                await asyncio.sleep(LOOK_SECONDS / 4)

    async def _look(self, backend: Backend) -> None:
        while True:
            try:
                backend.ready, backend.silent = await ready(backend.port), 0
            except TimeoutError:  # a busy machine or a paused replica: one alone says little
                backend.silent += 1
                backend.ready = backend.ready and backend.silent < SILENCES
            await asyncio.sleep(LOOK_SECONDS)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away
        finally:
            self._serving.discard(task)
            writer.transport.abort() if writer.transport.is_closing() else writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read a request, have it answered. Returns whether the connection stays open."""
        async with asyncio.timeout(IDLE_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        line, fields = parsed(head)
        body = await reader.readexactly(int(fields.get(b"content-length", [b"0"])[0]))
        request = outbound(line, fields) + body
        method, path = line.split(b" ")[:2]
        what = f"{method.decode('latin-1')} {label(path)}"
        try:
            status, reply = await self._pass(request)
        except Broken as broken:
            self.trouble[f"{what}: {broken}"] += 1
            status, reply = 503, b'{"code":"unavailable","cause":"balancer"}'
            reply = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: %d\r\n\r\n%s" % (len(reply), reply)
        else:
            self.answered += 1
            if status >= 500:
                self.trouble[f"{what}: answered {status}"] += 1
        writer.write(reply)
        await writer.drain()
        return True

    async def _pass(self, request: bytes) -> tuple[int, bytes]:
        refused = 0
        for backend in self._in_turn():
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    reader, writer = await asyncio.open_connection("127.0.0.1", backend.port, limit=LONGEST)
            except (OSError, TimeoutError):
                backend.ready, backend.silent = False, 0
                refused += 1
                continue
            self.moved += refused > 0
            backend.passed += 1
            try:
                writer.write(request)
                async with asyncio.timeout(ANSWER_SECONDS):
                    return await whole_answer(reader)
            except TimeoutError:
                raise Broken("no answer in time") from None
            except (OSError, asyncio.IncompleteReadError) as error:
                raise Broken(f"connection lost ({type(error).__name__})") from None
            finally:
                writer.transport.abort()
        raise Broken("no replica is ready")

    def _in_turn(self) -> list[Backend]:
        """Those that are ready, each time beginning with another; if nobody is, those that are merely silent."""
        self._turn += 1
        found = [backend for backend in self.backends if backend.ready] or [
            backend for backend in self.backends if backend.silent
        ]
        return found[self._turn % len(found) :] + found[: self._turn % len(found)] if found else []


async def ready(port: int) -> bool:
    """Whether this replica says that it takes requests. Raises TimeoutError when it says nothing."""
    try:
        async with asyncio.timeout(READY_WITHIN_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET /readyz HTTP/1.1\r\nhost: balancer\r\nconnection: close\r\n\r\n")
                return b" 200 " in await reader.readline()
            finally:
                writer.transport.abort()
    except TimeoutError:
        raise
    except OSError:
        return False


async def until_ready(port: int, wanted: bool, seconds: float) -> float | None:
    """How long it took until this replica was ready, or was not; None when it took longer. Silence is not ready."""
    began = time.monotonic()
    while await _answers(port) is not wanted:
        if time.monotonic() - began > seconds:
            return None
        await asyncio.sleep(LOOK_SECONDS / 4)
    return time.monotonic() - began


async def _answers(port: int) -> bool:
    try:
        return await ready(port)
    except TimeoutError:
        return False


def parsed(head: bytes) -> tuple[bytes, dict[bytes, list[bytes]]]:
    """The first line and the fields, their names in lower case."""
    line, *rest = head[:-4].split(b"\r\n")
    fields: dict[bytes, list[bytes]] = defaultdict(list)
    for each in rest:
        name, _, value = each.partition(b":")
        fields[name.strip().lower()].append(value.strip())
    return line, fields


def outbound(line: bytes, fields: dict[bytes, list[bytes]]) -> bytes:
    kept = [b"%s: %s" % (name, value) for name, values in fields.items() if name not in HOP for value in values]
    return b"\r\n".join([line, *kept, b"connection: close", b"", b""])


async def whole_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The status, and the answer as it goes on to the client. Raises IncompleteReadError when it breaks off."""
    head = await reader.readuntil(b"\r\n\r\n")
    line, fields = parsed(head)
    status = int(line.split(b" ")[1])
    if b"content-length" in fields:
        body = await reader.readexactly(int(fields[b"content-length"][0]))
    elif status == 204:
        body = b""
    else:
        raise asyncio.IncompleteReadError(b"", None)  # nothing here is sent in chunks but streams, which go another way
    kept = [b"%s: %s" % (name, value) for name, values in fields.items() if name not in HOP for value in values]
    return status, b"\r\n".join([line, *kept, b"", b""]) + body


def label(path: bytes) -> str:
    """The route without ids, for counting."""
    parts = path.partition(b"?")[0].decode("latin-1").split("/")
    with suppress(IndexError):
        if parts[1] == "callbacks":
            return "/callbacks"
        if parts[1] == "v1":
            return "/".join(parts[:3])
    return parts[0] + "/" + (parts[1] if len(parts) > 1 else "")
