from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_address, ip_network

import anyio
import httpcore
import pytest

from service.net.address import Address
from service.net.dial import (
    ERRAND,
    AddressBlocked,
    Backend,
    DeadlinePassed,
    Errand,
    SocketStream,
    Stream,
    boottime,
    give_up_after,
    is_own,
    socket_for,
)
from service.net.guard import Blocked, Policy
from service.net.resolver import Resolver
from tests.service.net.certificates import Authority
from tests.service.net.conftest import LOOPBACK_ALLOWED
from tests.service.net.servers import Peer, answer_always, closed_port, serving


@contextlib.contextmanager
def errand(deadline: float | None, policy: Policy = LOOPBACK_ALLOWED) -> Iterator[Errand]:
    made = Errand(policy=policy, deadline=deadline)
    token = ERRAND.set(made)
    try:
        yield made
    finally:
        ERRAND.reset(token)


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
async def pair(clock: list[float]) -> AsyncIterator[tuple[SocketStream, socket.socket]]:
    """A guarded stream over loopback TCP and the plain socket at its other end."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as ours:
        ours.setblocking(False)
        await loop.sock_connect(ours, listening.getsockname())
        theirs, _ = listening.accept()
        theirs.setblocking(False)
        with theirs:
            yield SocketStream(ours, lambda: clock[0]), theirs


async def test_guard_lets_nothing_out_after_the_deadline(
    pair: tuple[SocketStream, socket.socket], clock: list[float]
) -> None:
    stream, theirs = pair
    with errand(30.0) as ours:
        clock[0] = 30.0
        with pytest.raises(DeadlinePassed):
            await Stream(stream, stream).write(b"POST")
        assert not ours.left
    with pytest.raises(BlockingIOError):
        theirs.recv(1)


async def test_guard_is_asked_before_every_system_call(
    pair: tuple[SocketStream, socket.socket], clock: list[float]
) -> None:
    stream, theirs = pair
    with errand(30.0) as ours:
        sending = asyncio.create_task(Stream(stream, stream).write(b"x" * 20_000_000))
        await asyncio.sleep(0)
        assert ours.left
        before = stream.sent
        clock[0] = 31.0
        received = 0
        loop = asyncio.get_running_loop()
        while not sending.done():  # make room: a sender that does not look would use it
            with contextlib.suppress(TimeoutError):
                received += len(await asyncio.wait_for(loop.sock_recv(theirs, 1 << 20), 0.05))
        with pytest.raises(DeadlinePassed):
            await sending
    assert stream.sent == before < 20_000_000


async def test_query_needs_no_deadline(pair: tuple[SocketStream, socket.socket], clock: list[float]) -> None:
    stream, theirs = pair
    clock[0] = 1e9
    with errand(None) as ours:
        await Stream(stream, stream).write(b"GET")
        assert ours.left
    assert await asyncio.get_running_loop().sock_recv(theirs, 3) == b"GET"


async def test_errand_counts_from_its_own_first_byte(pair: tuple[SocketStream, socket.socket]) -> None:
    stream, _ = pair
    with errand(None) as first:
        await Stream(stream, stream).write(b"one")
    with errand(30.0) as second:
        assert not second.left
        await Stream(stream, stream).write(b"")
        assert not second.left
        await Stream(stream, stream).write(b"two")
        assert second.left
    assert first.left


async def test_kernel_is_told_when_to_give_up(pair: tuple[SocketStream, socket.socket], clock: list[float]) -> None:
    stream, _ = pair
    raw = stream._socket
    with errand(30.0):
        await stream.send(b"x")
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
        clock[0] = 29.9999
        await stream.send(b"x")
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1  # 0 would mean for ever
    assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == struct.pack("ii", 1, 0)


async def test_closing_a_purchase_discards_what_is_still_queued() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        bought_on = socket.create_connection(listening.getsockname())
        give_up_after(bought_on, 30)
        theirs, _ = listening.accept()
        bought_on.close()
        with theirs, pytest.raises(ConnectionResetError):
            theirs.recv(1)


async def test_writing_to_a_broken_connection_is_a_write_error(pair: tuple[SocketStream, socket.socket]) -> None:
    stream, theirs = pair
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    with errand(None), pytest.raises(httpcore.WriteError):
        await Stream(stream, stream).write(b"x" * 10_000_000)


async def test_idle_connection_knows_its_end(pair: tuple[SocketStream, socket.socket]) -> None:
    stream, theirs = pair
    outer = Stream(stream, stream)
    assert outer.get_extra_info("is_readable") is False
    theirs.close()
    assert select.select([stream._socket], [], [], 60)[0]  # the end has arrived
    assert outer.get_extra_info("is_readable") is True
    assert await outer.read(10) == b""
    await outer.aclose()
    assert outer.get_extra_info("is_readable") is True


async def test_cancelled_write_leaves_nothing_behind_in_the_loop(pair: tuple[SocketStream, socket.socket]) -> None:
    stream, _ = pair
    with errand(None):
        sending = asyncio.create_task(stream.send(b"x" * 20_000_000))
        await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
    assert not asyncio.get_running_loop().remove_writer(stream._socket)


# Dialling.


@pytest.mark.parametrize("text", ["10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1"])
def test_socket_is_not_even_made_for_a_forbidden_address(text: str) -> None:
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    with pytest.raises(AddressBlocked) as caught:
        socket_for(Policy())((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (text, 443)))
    assert isinstance(caught.value, Blocked)
    assert isinstance(caught.value, OSError)
    assert caught.value.reason.startswith(f"{text} is ")


async def test_second_address_is_tried_when_the_first_refuses() -> None:
    resolver = Resolver(lookup=lambda host: ["127.0.0.9", "127.0.0.1"])
    async with serving(answer_always) as seen:
        with errand(None):
            stream = await Backend(resolver, boottime).connect_tcp("a.test", seen.port)
            await stream.aclose()
        assert seen.connections == 1
    resolver.close()


async def test_refused_everywhere_is_a_connect_error() -> None:
    resolver = Resolver(lookup=lambda host: ["127.0.0.9", "127.0.0.1"])
    with errand(None), pytest.raises(httpcore.ConnectError, match="Connection refused"):
        await Backend(resolver, boottime).connect_tcp("a.test", closed_port())
    resolver.close()


async def test_nothing_is_dialled_after_the_deadline(resolver: Resolver) -> None:
    async with serving(answer_always) as seen:
        with errand(boottime() - 1), pytest.raises(httpcore.ConnectTimeout):
            await Backend(resolver, boottime).connect_tcp("a.test", seen.port)
    assert seen.connections == 0


async def test_answers_are_judged_by_the_errand_s_policy() -> None:
    resolver = Resolver(lookup=lambda host: ["127.0.0.1", "10.0.0.1"])
    async with serving(answer_always) as seen:
        with errand(None), pytest.raises(Blocked):
            await Backend(resolver, boottime).connect_tcp("a.test", seen.port)
        with errand(None, Policy(allow=(ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8"))).inside()):
            stream = await Backend(resolver, boottime).connect_tcp("a.test", seen.port)
            await stream.aclose()
    resolver.close()


async def test_guard_holds_under_tls(authority: Authority, resolver: Resolver, clock: list[float]) -> None:
    received: list[bytes] = []
    arrived = asyncio.Event()

    async def behave(peer: Peer) -> None:
        received.append(await peer.reader.readexactly(5))
        arrived.set()
        received.append(await peer.gone())

    async with serving(behave, tls=authority.server("a.test")) as seen:
        with errand(30.0) as ours:
            plain = await Backend(resolver, lambda: clock[0]).connect_tcp("a.test", seen.port)
            secured = await plain.start_tls(authority.client(), "a.test")
            assert not ours.left  # a handshake buys nothing
            await secured.write(b"first")
            assert ours.left
            await asyncio.wait_for(arrived.wait(), 60)
            clock[0] = 30.0
            with pytest.raises(DeadlinePassed):
                await secured.write(b"second")
            await secured.aclose()
    assert b"".join(received) == b"first"


async def test_broken_stream_below_tls_closes_the_socket(authority: Authority, resolver: Resolver) -> None:
    async def behave(peer: Peer) -> None:
        peer.reset()

    async with serving(behave) as seen:
        with errand(None):
            plain = await Backend(resolver, boottime).connect_tcp("a.test", seen.port)
            with pytest.raises(httpcore.ConnectError, match="TLS failed"):
                await plain.start_tls(authority.client(), "a.test")
        assert plain.get_extra_info("is_readable") is True


def test_clock_counts_sleep() -> None:
    assert boottime() > 0
    assert boottime() <= boottime()


async def test_end_of_stream_is_told_apart_from_a_break(pair: tuple[SocketStream, socket.socket]) -> None:
    stream, theirs = pair
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(anyio.EndOfStream):
        await stream.receive()


class Trusting(Policy):
    """Lets every address pass, as the tables do with a public one."""

    def refuse_socket(self, address: Address, port: int) -> str | None:
        return None


def test_an_address_of_this_machine_is_not_dialled_though_no_table_names_it() -> None:
    found = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 443))
    with pytest.raises(AddressBlocked, match="an address of this machine"):
        socket_for(Trusting())(found)
    socket_for(Trusting(allow=(ip_network("127.0.0.0/8"),)))(found).close()


@pytest.mark.parametrize(("address", "own"), [("127.0.0.1", True), ("1.1.1.1", False), ("2606:4700::1", False)])
def test_the_kernel_knows_which_addresses_are_this_machine_s(address: str, own: bool) -> None:
    assert is_own(ip_address(address)) is own
