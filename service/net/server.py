"""How the HTTP server is run: the settings that matter, each for a reason, and uvicorn as one duty among others."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator
from operator import itemgetter
from typing import Any

import uvicorn

from service.net.connection import Connection
from service.net.crowd import Crowd
from service.telemetry import metrics

GRACE_SECONDS = 20  # for answers in the making, once told to stop
LOOK_EVERY_SECONDS = 0.25

_LAG = metrics.loop_lag_seconds.labels()
SEND_BYTES = (
    128 * 1024
)  # of an answer in the kernel, which doubles it; left to itself it takes 4 MB of each, and the time to copy them
UNREAD_BYTES = 64 * 1024 * 1024  # of answers that nobody takes, over all connections

App = Callable[..., Awaitable[None]]


def uvicorn_config(
    app: App, host: str, port: int, *, fd: int | None = None, crowd: Crowd | None = None, **more: Any
) -> uvicorn.Config:
    """The configuration of a server for `app`. `port` 0 takes a free one; `fd`: a listening socket already open."""
    settings: dict[str, Any] = {
        "app": app,
        "interface": "asgi3",
        "host": host,
        "port": port,
        "fd": fd,
        "loop": "uvloop",
        # httptools: h11 takes three times as long, and answers 200 to requests with two lengths
        "http": type("Connection", (Connection,), {"crowd": crowd or Crowd()}),
        "ws": "none",
        "lifespan": "off",  # what lives longer than a request is started before the server and ends after it
        "log_config": None,
        "access_log": False,  # halves throughput, and writes callback tokens
        "server_header": False,
        "date_header": True,
        "proxy_headers": False,  # the connection reads them, from proxies of `crowd` alone
        "timeout_keep_alive": math.ceil(Connection.patience.keep_alive_seconds),
        "timeout_graceful_shutdown": GRACE_SECONDS,
    }
    return uvicorn.Config(**{**settings, **more})


class Server(uvicorn.Server):
    """Serves until `should_exit` is set, then finishes what is in flight. Signals are somebody else's.

    uvicorn raises the signals it caught once more after its shutdown, which would kill the process before the lanes are
    given back.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()  # requests are accepted
        self._looking: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._looking = asyncio.create_task(self._look())
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        last = asyncio.create_task(self._let_in_the_last([listener.dup() for listener in sockets or []]))
        await super().shutdown(sockets)
        await last
        if self.server_state.tasks:  # cut off: they say so to their clients
            await asyncio.wait(self.server_state.tasks, timeout=1.0)
        if self._looking is not None:
            self._looking.cancel()

    async def _let_in_the_last(self, listeners: list[socket.socket]) -> None:
        """Those whom the kernel let in for us while we were busy: were the last descriptor closed on them, it would reset them.

        By now the loop accepts no more. A balancer that has seen the connection made sends no push or order to anybody else.
        """
        waiting = [client for listener in listeners for client in _waiting(listener)]
        for listener in listeners:
            listener.close()
        for client in waiting:
            await self._let_in(client)

    async def _let_in(self, client: socket.socket) -> None:
        def connection() -> Connection:
            kind: type[Connection] = self.config.http_protocol_class  # type: ignore[assignment]
            return kind(self.config, self.server_state, self.lifespan.state)

        with contextlib.suppress(OSError):  # it went away
            _, made = await asyncio.get_running_loop().connect_accepted_socket(connection, client)
            made.shutdown()

    async def _look(self) -> None:
        """Close connections whose client keeps us waiting, or has us keep too much."""
        while True:
            due = asyncio.get_running_loop().time() + LOOK_EVERY_SECONDS
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            now = asyncio.get_running_loop().time()
            _LAG.observe(max(now - due, 0.0))
            ours = [one for one in self.server_state.connections if isinstance(one, Connection)]
            for connection in ours:
                connection.look(now)
            _relieve(ours)


def _relieve(connections: Iterable[Connection]) -> None:
    """Give up answers that wait to be read, those that wait longest first, until what is left may be kept."""
    waiting = sorted(((*one.unread, one) for one in connections if one.unread[1]), key=itemgetter(0))
    kept = sum(size for _, size, _ in waiting)
    for _, size, connection in waiting:
        if kept <= UNREAD_BYTES:
            return
        connection.give_up()
        kept -= size


def _waiting(listener: socket.socket) -> Iterator[socket.socket]:
    """The connections that nobody has accepted yet."""
    with contextlib.suppress(OSError):  # no more
        while True:
            client, _ = listener.accept()
            client.setblocking(False)
            yield client


def listen(host: str, port: int) -> socket.socket:
    """A bound socket that refuses connections until a server starts on it. Port 0 takes a free one. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)  # of those it accepts
        listener.bind(address)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
