"""One connection of the hostile subscriber: raw bytes out, as it pleases, and what the other side took of them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import TypeAlias

LONGEST_HEAD, MOST_BODY = 64 * 1024, 1 << 20
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_SEND_BUFFER = 8 * 1024  # small, so that what is written was nearly taken
_TCP_INFO: int | None = getattr(socket, "TCP_INFO", None)  # Linux
_BYTES_ACKED = 120  # where struct tcp_info has it, since Linux 4.1


class Line:
    """A connection that was accepted. `target`: what was asked for, once it was read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        # Its own handle: the transport drops its one when the other side resets, and with it what the kernel has counted.
        self._socket: socket.socket = writer.get_extra_info("socket").dup()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        writer.transport.set_write_buffer_limits(0)
        self.client: int = writer.get_extra_info("peername")[1]
        self.target = ""

    async def request(self) -> str:
        """Read one whole request; its target, or nothing when there is none."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            if lengths:
                await self._reader.readexactly(min(int(lengths[0].split(b":")[1]), MOST_BODY))
            self.target = head.split(b" ", 2)[1].decode("ascii", "replace")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, IndexError):
            self.target = ""
        return self.target

    async def say(self, text: bytes) -> None:
        self._writer.write(text)
        await self._writer.drain()

    async def repeat(self, text: bytes, least: int) -> None:
        """The same again and again until so many bytes were taken."""
        for _ in range(-(-least // len(text))):
            await self.say(text)

    async def drip(self, text: bytes, every_seconds: float = 0.2) -> None:
        """One byte after another, without an end."""
        while True:
            for byte in text:
                await self.say(bytes([byte]))
                await asyncio.sleep(every_seconds)

    async def gone(self) -> None:
        """Until the other side has left."""
        with contextlib.suppress(OSError):
            while await self._reader.read(65536):
                pass

    def reset(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._writer.transport.abort()

    def close(self) -> None:
        self._writer.transport.abort()
        self._socket.close()

    def taken(self) -> int:
        """Bytes the other machine has taken so far, read there or not."""
        if _TCP_INFO is None:
            return 0
        told = self._socket.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 256)
        return int(struct.unpack_from("Q", told, _BYTES_ACKED)[0]) if len(told) >= _BYTES_ACKED + 8 else 0


Behaviour: TypeAlias = Callable[[Line], Awaitable[None]]
