"""A wire between a client and a server on this machine: it delays, swallows and falls silent on request."""

from __future__ import annotations

import asyncio
from types import TracebackType


class Wire:
    """Listens on a TCP port and carries bytes to a socket file. `seconds`: how long each way takes."""

    def __init__(self, path: str, *, seconds: float = 0.0) -> None:
        self._path = path
        self._seconds = seconds
        self._carrying: set[asyncio.Task[None]] = set()
        self._word: bytes | None = None
        self._mute: set[int] = set()
        self.silent = False
        self.swallowed = 0  # answers
        self.connections = 0
        self.trips = 0  # pieces that the client sent: one for each round trip, while it waits for every answer

    async def __aenter__(self) -> Wire:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for carrying in self._carrying:
            carrying.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)
        await self._server.wait_closed()

    def lead_to(self, path: str) -> None:
        """Where connections lead from now on."""
        self._path = path

    def swallow_answers_after(self, word: bytes) -> None:
        """What the server says to whoever says the word next does not arrive, nor anything after it on that connection."""
        self._word = word

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, to_them = await asyncio.open_unix_connection(self._path)
        number = id(writer)
        self.connections += 1
        for task in (self._carry(reader, to_them, number, asks=True), self._carry(theirs, writer, number, asks=False)):
            carrying = asyncio.create_task(task)
            self._carrying.add(carrying)
            carrying.add_done_callback(self._carrying.discard)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, *, asks: bool
    ) -> None:
        try:
            while piece := await reader.read(65536):
                if self.silent:
                    continue
                if self._seconds:
                    await asyncio.sleep(self._seconds)
                if asks and self._word is not None and self._word in piece:
                    self._word = None
                    self._mute.add(number)
                if not asks and number in self._mute:
                    self.swallowed += 1
                    continue
                self.trips += asks
                writer.write(piece)
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
