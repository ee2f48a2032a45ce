"""Puts a sandbox or a subscriber on a real socket: for the command line until a signal, for tests until `stop`."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass
from types import TracebackType

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from service.sandbox.app import create_app
from service.sandbox.line import HANG_UP
from service.sandbox.requestlog import RequestLog
from service.sandbox.subscriber import Subscriber, create_subscriber_app
from service.sandbox.world import World


async def serve(
    played: World | Subscriber, host: str = "127.0.0.1", port: int = 0, *, log: RequestLog | None = None
) -> Served:
    """Listen and answer. Port 0 takes a free one: read it from the result. Raises OSError when the port is taken.

    A sandbox writes its requests to the log, if there is one.
    """
    app = create_app(played, log) if isinstance(played, World) else create_subscriber_app(played)
    listener = _listen(host, port)
    lines = Lines(app)
    server = uvicorn.Server(
        uvicorn.Config(lines, log_config=None, access_log=False, proxy_headers=False, ws="none", lifespan="on")
    )
    lines.server = server
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[listener])
    return Served(host=host, port=listener.getsockname()[1], server=server)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A server that is listening. Use it as a context, or call `stop`."""

    host: str
    port: int
    server: uvicorn.Server

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    async def until_signal(self) -> None:
        """Serve until SIGINT or SIGTERM, then stop."""
        asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, asked.set)
        try:
            await asked.wait()
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
            await self.stop()

    async def stop(self) -> None:
        """Close every connection, the hanging ones too, and end what runs in the background."""
        # uvicorn's own shutdown waits for open requests; a hanging one would never let it end.
        for listening in self.server.servers:
            listening.close()
        for connection in list(self.server.server_state.connections):
            connection.transport.close()
        await self.server.lifespan.shutdown()
        # Last, because a reply may be waiting for a push that the shutdown has just ended.
        if self.server.server_state.tasks:
            await asyncio.wait(self.server.server_state.tasks)

    async def __aenter__(self) -> Served:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


class Lines:
    """Offers each request a way to close its own connection, which plain ASGI has not."""

    server: uvicorn.Server

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            extensions: MutableMapping[str, object] = scope.setdefault("extensions", {})
            extensions[HANG_UP] = lambda: self._close(scope["client"])
        await self.app(scope, receive, send)

    def _close(self, client: tuple[str, int]) -> None:
        for connection in list(self.server.server_state.connections):
            if getattr(connection, "client", None) == client:
                connection.transport.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, because asyncio sets TCP_NODELAY only where it is: a body behind its head waited 40 ms for the client's acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
