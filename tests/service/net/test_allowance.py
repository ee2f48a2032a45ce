from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from service.net.allowance import Connector
from service.net.dial import socket_for
from service.net.resolver import Resolver
from service.net.sender import Sender
from tests.service.net.conftest import LOOPBACK_ALLOWED
from tests.service.net.servers import Behaviour, Peer, serving

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def sender(resolver: Resolver) -> AsyncIterator[Sender]:
    made = Sender(LOOPBACK_ALLOWED, resolver, user_agent="x", timeout_seconds=60)
    yield made
    await made.aclose()


class Flood:
    """Says something, then the same again and again, as long as it is taken."""

    def __init__(self, first: bytes, again: bytes) -> None:
        self.first, self.again = first, again
        self.taken = 0

    async def __call__(self, peer: Peer) -> None:
        raw: socket.socket = peer.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # what is written is then what was taken, nearly
        peer.writer.transport.set_write_buffer_limits(0)
        await peer.request()
        await peer.say(self.first)
        while self.taken < 20_000_000:
            await peer.say(self.again)
            self.taken += len(self.again)


FLOODS = {
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 40, (None, "http")),
    "a line of the head": (HEAD + b"x: ", b"x" * 1000, (None, "http")),
    "short headers": (HEAD, b"x: y\r\n" * 100, (None, "http")),
    "a body": (HEAD + b"Content-Length: 100000000\r\n\r\n", b"x" * 1000, (200, None)),
    "a body without an end": (HEAD + b"\r\n", b"x" * 1000, (200, None)),
    "small chunks": (CHUNKED, b"1\r\nx\r\n" * 100, (200, None)),
    "an extension of a chunk": (CHUNKED + b"1;", b"x" * 1000, (200, None)),
    "trailers": (CHUNKED + b"1\r\nx\r\n0\r\n", b"x: y\r\n" * 100, (200, None)),
    "an upgrade": (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", b"x" * 1000, (101, "http")),
}


@pytest.mark.parametrize(("first", "again", "outcome"), FLOODS.values(), ids=FLOODS)
async def test_of_a_flood_no_more_is_read_than_allowed(
    first: bytes, again: bytes, outcome: tuple[int | None, str | None], sender: Sender
) -> None:
    flood = Flood(first, again)
    async with serving(flood) as seen, asyncio.timeout(90):
        sent = await sender.post(f"http://a.test:{seen.port}/", b"{}", {})
    assert (sent.status_code, sent.error_class) == outcome
    assert sent.duration_ms < 30_000  # not at the end of its 60 s
    assert flood.taken <= 128 * 1024  # with what both kernels hold; without a limit 20 MB


async def test_the_kernel_takes_little_that_nobody_will_read() -> None:
    connector = Connector(dial=socket_for(LOOPBACK_ALLOWED))
    assert connector._socket_factory is not None
    with connector._socket_factory((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 443))) as made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) <= 32 * 1024
    await connector.close()


async def test_the_allowance_is_each_request_s_own(sender: Sender) -> None:
    answer = HEAD + b"Content-Length: 30000\r\n\r\n" + b"x" * 30_000

    async def behave(peer: Peer) -> None:
        while await peer.request():
            await peer.say(answer)

    async with serving(behave) as seen:
        for _ in range(4):
            assert (await sender.post(f"http://a.test:{seen.port}/", b"{}", {})).status_code == 200
    assert seen.connections == 1


async def test_what_came_before_the_limit_is_kept(sender: Sender) -> None:
    behave: Behaviour = Flood(HEAD + b"Content-Length: 100000000\r\n\r\nHello", b"x" * 1000)
    async with serving(behave) as seen:
        sent = await sender.post(f"http://a.test:{seen.port}/", b"{}", {})
    assert sent.response_head is not None and sent.response_head.startswith("Hello") and len(sent.response_head) == 1024


BROKEN = {
    "a chunk without a length": CHUNKED + b"lots\r\nx\r\n",
    "a chunk of a negative length": CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
    "a chunk that is too long": CHUNKED + b"ffffffffffffffffff\r\nx",
    "an end in the middle": CHUNKED + b"5\r\nhe",
    "a trailer that is none": CHUNKED + b"0\r\n\x00\r\n\r\n",
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
async def test_a_status_counts_whatever_comes_after_it_in_the_same_breath(answer: bytes, sender: Sender) -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.say(answer)

    async with serving(behave) as seen:
        sent = await sender.post(f"http://a.test:{seen.port}/", b"{}", {})
    assert (sent.status_code, sent.error_class) == (200, None)
    assert sent.duration_ms < 30_000  # not at the end of its 60 s  # and is not waited for


async def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_one(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.net.sender._KEEPALIVE_SECONDS", 600.0)
    told = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.say(HEAD + b"Content-Length: 0\r\n\r\n")
        if peer.seen.connections == 1:
            await told.wait()
            await peer.say(HEAD + b"Content-Length: 0\r\n\r\n")  # others say 408, to a client that is idle
            await peer.gone()
        while await peer.request():
            await peer.say(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")

    async with serving(behave) as seen:
        url = f"http://a.test:{seen.port}/"
        assert (await sender.post(url, b"{}", {})).status_code == 200
        [[(kept, _)]] = sender._sessions[True, False].connector._conns.values()  # type: ignore[union-attr]
        told.set()
        async with asyncio.timeout(60):
            while kept.is_connected():  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        assert (await sender.post(url, b"{}", {})).status_code == 200
        assert (await sender.post(url, b"{}", {})).status_code == 500
    assert (seen.connections, len(seen.requests)) == (2, 3)


@pytest.mark.filterwarnings("ignore:Sending a large body")
async def test_what_a_peer_never_reads_keeps_no_socket_open(resolver: Resolver) -> None:
    sender = Sender(LOOPBACK_ALLOWED, resolver, user_agent="x", timeout_seconds=0.2)
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        sent = await sender.post(f"http://a.test:{deaf.getsockname()[1]}/", b"x" * 8_000_000, {})
        assert sent.error_class == "timeout"
        theirs, _ = deaf.accept()
        with theirs:
            theirs.setblocking(False)
            await sender.aclose()
            read = 0
            async with asyncio.timeout(60):
                while chunk := await asyncio.get_running_loop().sock_recv(theirs, 1 << 16):
                    read += len(chunk)
    assert read < 8_000_000  # what was in the kernel; the rest was dropped, and not waited with for somebody to read
