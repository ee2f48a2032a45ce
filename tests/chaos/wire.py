"""The line between a replica and PostgreSQL: it can be held (nothing passes, nobody is told) and mended (what was held is reset)."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress

CHUNK = 65_536
RESET = struct.pack("ii", 1, 0)  # closing answers whatever the other end says next with a reset


class Wire:
    """Passes connections on to the server's own socket."""

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path
        self._flows = asyncio.Event()
        self._flows.set()
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._closers: set[Callable[[], None]] = set()
        self.port = 0
        self.held = 0  # bytes that came while nothing passed

    async def __aenter__(self) -> Wire:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, limit=CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.drop()
        if self._links:
            await asyncio.wait(set(self._links))
        await asyncio.sleep(0)  # a transport that was aborted closes its socket a turn later

    def cut(self) -> None:
        """Nothing passes from now on, in either direction; new connections are taken and hang."""
        self._flows.clear()

    def mend(self) -> None:
        """Pass again. What hung is reset, as a network that was away for longer does it."""
        self.drop()
        self._flows.set()

    def drop(self) -> None:
        """Close every connection the hard way."""
        for close in list(self._closers):
            close()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        ends = [writer]

        def close() -> None:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            task.cancel()  # which aborts both ends

        self._closers.add(close)
        try:
            await self._flows.wait()
            upstream, further = await asyncio.open_unix_connection(self._socket_path, limit=CHUNK)
            ends.append(further)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass(reader, further))
                both.create_task(self._pass(upstream, writer))
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            pass  # one end went away; so does the other
        finally:
            self._closers.discard(close)
            self._links.discard(task)
            for end in ends:
                end.transport.abort()

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while chunk := await source.read(CHUNK):
            if not self._flows.is_set():
                self.held += len(chunk)
                await self._flows.wait()
            target.write(chunk)
            await target.drain()
        with suppress(OSError):
            if target.can_write_eof():
                target.write_eof()
        raise ConnectionResetError  # ends the other direction too
