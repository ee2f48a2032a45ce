"""Dials vetted addresses only, and holds the guard that keeps a late purchase off the wire.

A worker that was paused past its deadline may wake up in the middle of a send while another one has already settled the
matter. So the guard sits where nothing can come between it and the network: in front of every single send() and
connect() call of our own socket, below TLS, on a clock that runs on while the machine sleeps.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import aiohappyeyeballs
import anyio.abc
import anyio.streams.tls
import httpcore

from service.net.address import Address, unwrap
from service.net.guard import Blocked, NetError, Policy
from service.net.resolver import Resolver
from service.telemetry import failpoints

CONNECT_SECONDS = 5.0
_HAPPY_EYEBALLS_SECONDS = 0.25  # RFC 8305
_BOOTTIME: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # Linux has both; macOS' MONOTONIC runs in sleep
_DISCARD_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: closing resets
_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux


def boottime() -> float:
    """Seconds since boot, sleep included: CLOCK_MONOTONIC stands still while a machine is suspended."""
    return time.clock_gettime(_BOOTTIME)


class DeadlinePassed(NetError):
    """The guard kept bytes off the wire because their deadline had passed."""


class AddressBlocked(Blocked, PermissionError):
    """An address reached the socket without having been vetted. An OSError, because dialling code expects those."""


@dataclass(slots=True, kw_only=True)
class Errand:
    """One request under way. `deadline`: by the guard's clock. `stream` and `before`: where its first byte would be."""

    policy: Policy
    deadline: float | None = None
    stream: SocketStream | None = None
    before: int = 0

    @property
    def left(self) -> bool:
        """Whether any byte of the request was handed to the kernel."""
        return self.stream is not None and self.stream.sent > self.before


ERRAND: ContextVar[Errand] = ContextVar("errand")


def socket_for(policy: Policy) -> Callable[[aiohappyeyeballs.AddrInfoType], socket.socket]:
    """A socket factory that judges the very address the socket is for: literals reach no resolver."""

    def make(found: aiohappyeyeballs.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, where = found
        address = ip_address(where[0])
        if reason := policy.refuse_socket(address, where[1]):
            raise AddressBlocked(f"{where[0]} is {reason}")
        if not policy.allows(unwrap(address)) and is_own(address):
            raise AddressBlocked(f"{where[0]} is an address of this machine")
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    return make


def is_own(address: Address) -> bool:
    """Whether an address, a public one too, is this machine's: what stands behind it expects no calls from within.

    Asked of the kernel at each connection, because addresses come and go. Nothing is sent: connecting a UDP socket only
    chooses the route, and the route to oneself begins at oneself.
    """
    with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), 9))
        except OSError:  # no route
            return False
        return ip_address(probe.getsockname()[0].partition("%")[0]) == address


class SocketStream(anyio.abc.ByteStream):
    """A connected socket that asks the guard before every send() system call."""

    def __init__(self, connected: socket.socket, now: Callable[[], float]) -> None:
        self._socket = connected
        self._now = now
        self.sent = 0  # bytes the kernel took

    async def send(self, item: bytes) -> None:
        loop = asyncio.get_running_loop()
        rest = memoryview(item)
        while rest:
            self._guard()
            try:
                taken = self._socket.send(rest)
            except (BlockingIOError, InterruptedError):
                await _writable(loop, self._socket)
            except OSError as error:
                raise anyio.BrokenResourceError from error
            else:
                self.sent += taken
                rest = rest[taken:]

    async def receive(self, max_bytes: int = 65536) -> bytes:
        try:
            received = await asyncio.get_running_loop().sock_recv(self._socket, max_bytes)
        except OSError as error:
            raise anyio.BrokenResourceError from error
        if not received:
            raise anyio.EndOfStream
        return received

    async def send_eof(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        self._socket.close()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return {}

    def readable(self) -> bool:
        """Whether something waits to be read; on an idle connection that can only be its end."""
        if self._socket.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def _guard(self) -> None:
        errand = ERRAND.get()
        if errand.deadline is None:
            return
        seconds_left = errand.deadline - self._now()
        if seconds_left <= 0:
            raise DeadlinePassed("the deadline passed while sending")
        give_up_after(self._socket, seconds_left)


def give_up_after(bought_on: socket.socket, seconds: float) -> None:
    """Make the kernel drop what it took in time but cannot deliver in time: by itself it re-sends for minutes (measured:
    a request arrived 165 s late), and a plain close leaves the queue to it."""
    bought_on.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARD_ON_CLOSE)
    if _USER_TIMEOUT is not None:
        bought_on.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, max(1, int(seconds * 1000)))  # 0 would mean the default


async def _writable(loop: asyncio.AbstractEventLoop, full: socket.socket) -> None:
    ready = loop.create_future()
    loop.add_writer(full, _wake, ready)
    try:
        await ready
    finally:
        loop.remove_writer(full)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


class Stream(httpcore.AsyncNetworkStream):
    """What httpcore reads from and writes to. Its own time limits are per operation and stay unused: the client's total
    limit and the guard are what counts."""

    def __init__(self, bytes_: anyio.abc.ByteStream, wire: SocketStream) -> None:
        self._bytes = bytes_
        self._wire = wire

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        errand = ERRAND.get(None)  # an idle connection is read outside of any
        if errand is not None and errand.deadline is not None:
            failpoints.reach("after_send")
        try:
            return await self._bytes.receive(max_bytes)
        except anyio.EndOfStream:
            return b""
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError) as error:
            raise httpcore.ReadError(_say(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        if not buffer:
            return
        errand = ERRAND.get()
        if errand.stream is None:  # handshakes are over, so what the wire takes from here on is the request
            errand.stream, errand.before = self._wire, self._wire.sent
            if errand.deadline is not None:
                failpoints.reach("before_write")
        try:
            await self._bytes.send(buffer)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError) as error:
            raise httpcore.WriteError(_say(error)) from error

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> Stream:
        """TLS above the same guarded socket."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                secured = await anyio.streams.tls.TLSStream.wrap(
                    self._bytes,
                    hostname=server_hostname,
                    ssl_context=ssl_context,
                    server_side=False,
                    standard_compatible=False,
                )
        except BaseException as error:
            await self.aclose()
            if isinstance(error, TimeoutError):
                raise httpcore.ConnectTimeout(f"no TLS within {CONNECT_SECONDS:g} s") from error
            if isinstance(error, (ssl.SSLError, anyio.BrokenResourceError, anyio.EndOfStream)):
                raise httpcore.ConnectError(f"TLS failed: {_say(error)}") from error
            raise
        return Stream(secured, self._wire)

    async def aclose(self) -> None:
        await self._bytes.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._wire.readable() if info == "is_readable" else None


class Backend(httpcore.AsyncNetworkBackend):
    """Resolves, judges and dials, so that URL, pool key, Host and server name stay the name and never the address.

    Putting the address into the URL instead would make the pool hand one name's TLS session to another name on the same
    address, whose certificate nobody then checks.
    """

    def __init__(self, resolver: Resolver, now: Callable[[], float]) -> None:
        self._resolver = resolver
        self._now = now

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> Stream:
        errand = ERRAND.get()
        try:
            addresses = await self._resolver.addresses(errand.policy, host)
            wire = SocketStream(await self._connect(addresses, port, errand), self._now)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"no connection within {CONNECT_SECONDS:g} s") from error
        except AddressBlocked:
            raise
        except OSError as error:
            raise httpcore.ConnectError(_say(error)) from error
        return Stream(wire, wire)

    async def _connect(self, addresses: Iterable[Address], port: int, errand: Errand) -> socket.socket:
        make = socket_for(errand.policy)

        def guarded(found: aiohappyeyeballs.AddrInfoType) -> socket.socket:
            if errand.deadline is None:
                return make(found)
            seconds_left = errand.deadline - self._now()
            if seconds_left <= 0:
                raise TimeoutError("the deadline passed before dialling")
            made = make(found)
            give_up_after(made, seconds_left)
            return made

        async with asyncio.timeout(CONNECT_SECONDS):
            return await aiohappyeyeballs.start_connection(
                [_found(address, port) for address in addresses],
                happy_eyeballs_delay=_HAPPY_EYEBALLS_SECONDS,
                socket_factory=guarded,
            )


def _found(address: Address, port: int) -> aiohappyeyeballs.AddrInfoType:
    if address.version == 4:
        return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (str(address), port)
    return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (str(address), port, 0, 0)


def _say(error: BaseException) -> str:
    """What the system or OpenSSL says about an error; never the peer's words."""
    cause = error.__cause__ or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return cause.verify_message
    if isinstance(cause, ssl.SSLError):
        return cause.reason or type(cause).__name__
    if isinstance(cause, OSError) and cause.errno is not None:
        return os.strerror(cause.errno)
    return type(cause).__name__
