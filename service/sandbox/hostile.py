"""A subscriber that does everything a subscriber must not: each path of its first port, and each further port, is one case."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from dataclasses import dataclass
from types import TracebackType

from service.sandbox.hostile_cases import ANSWERS, head
from service.sandbox.hostile_line import LONGEST_HEAD, Behaviour, Line
from service.sandbox.hostile_tls import CERTIFICATES, CONNECTIONS, TCP, Authority

VISITS_KEPT = 10_000


@dataclass(slots=True, kw_only=True)
class Visit:
    """One connection, as this side saw it. `port`: the case, where a port stands for one. `taken`: bytes that arrived there."""

    port: str
    line: Line
    began: float
    ended: float | None = None
    taken: int = 0

    @property
    def case(self) -> str:
        return self.port or _case_of(self.line.target)

    @property
    def requests(self) -> int:
        return int(bool(self.line.target))


class Hostile:
    """The server. `urls`: where each case is to be had."""

    def __init__(self) -> None:
        self.authority = Authority()
        self.urls: dict[str, str] = {}
        self.visits: list[Visit] = []
        self._servers: list[asyncio.Server] = []
        self._sockets: list[socket.socket] = []
        self._running: set[asyncio.Task[None]] = set()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen. The paths are on `port`, the other cases on free ones. Raises OSError when it is taken."""
        answers = await self._listen(host, port, "", self._by_path)
        self.urls |= {name: f"http://{host}:{answers}/{name}" for name in ANSWERS}
        for name, case in TCP.items():
            scheme = "https" if name.startswith("tls") else "http"
            self.urls[name] = f"{scheme}://{host}:{await self._listen(host, 0, name, case.behave)}/"
        for name in CERTIFICATES:
            context = self.authority.context(name)
            self.urls[name] = f"https://{host}:{await self._listen(host, 0, name, self._by_path, context)}/ok"
        self.urls["refuse"] = f"http://{host}:{self._deaf(host)}/"
        self.urls["unanswered"] = f"http://{host}:{self._full(host)}/"

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        for running in tuple(self._running):
            running.cancel()
        if self._running:
            await asyncio.wait(tuple(self._running))
        for one in self._sockets:
            one.close()

    async def __aenter__(self) -> Hostile:
        if not self._servers:
            await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def of(self, case: str) -> list[Visit]:
        """The connections that were this case's."""
        return [visit for visit in self.visits if visit.case == case]

    async def _listen(
        self, host: str, port: int, name: str, behave: Behaviour, tls: ssl.SSLContext | None = None
    ) -> int:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._running.add(task)
            line = Line(reader, writer)
            try:
                await self._serve(line, name, behave)
            finally:
                self._running.discard(task)
                line.close()

        server = await asyncio.start_server(accept, host, port, ssl=tls, limit=LONGEST_HEAD)
        self._servers.append(server)
        taken: int = server.sockets[0].getsockname()[1]
        return taken

    async def _serve(self, line: Line, name: str, behave: Behaviour) -> None:
        visit = Visit(port=name, line=line, began=time.monotonic())
        if len(self.visits) < VISITS_KEPT:
            self.visits.append(visit)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            try:
                await behave(line)
            finally:
                visit.ended = time.monotonic()
                visit.taken = line.taken()

    async def _by_path(self, line: Line) -> None:
        """Read a request and do what its path says."""
        target = await line.request()
        case = ANSWERS.get(_case_of(target))
        if case is not None:
            await case.behave(line)
        elif target == "/_authority":
            await line.say(head(200, length=len(self.authority.pem)) + self.authority.pem)
        elif target:
            text = listed().encode()
            await line.say(head(404, b"Content-Type: text/plain; charset=utf-8", length=len(text)) + text)

    def _deaf(self, host: str) -> int:
        """A port that stays taken while nobody listens."""
        deaf = self._bound(host)
        return int(deaf.getsockname()[1])

    def _full(self, host: str) -> int:
        """A port whose queue of calls is full, so that the kernel drops whoever calls next."""
        full = self._bound(host)
        full.listen(0)
        for _ in range(2):
            caller = socket.socket(full.family, socket.SOCK_STREAM)
            caller.setblocking(False)
            self._sockets.append(caller)
            with contextlib.suppress(BlockingIOError):
                caller.connect(full.getsockname())
        return int(full.getsockname()[1])

    def _bound(self, host: str) -> socket.socket:
        made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        self._sockets.append(made)
        made.bind((host, 0))
        return made


def _case_of(target: str) -> str:
    return target.partition("?")[0].lstrip("/").partition("/")[0]


def listed() -> str:
    """Every case with what it does, a line each."""
    said = {name: case.does for name, case in {**ANSWERS, **TCP}.items()} | dict(CONNECTIONS) | dict(CERTIFICATES)
    return "".join(f"{name:18} {does}\n" for name, does in said.items())
