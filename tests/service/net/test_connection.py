"""Clients that keep a server waiting, on real sockets. Spans are short; the real ones are run by `make faults`."""

from __future__ import annotations

import asyncio
import json
import math
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_network
from typing import Any

import pytest

from service.net import server as net_server
from service.net.connection import PIPELINED, Connection, Patience
from service.net.crowd import SPARE, Crowd
from service.net.forwarded import Network
from service.net.refusals import HEAD_BYTES, HEADERS
from service.net.server import Server, listen, uvicorn_config

SHORT, LOOK = 0.05, 0.02
LONG = 600.0
NEVER = Patience(
    head_seconds=LONG,
    hurry_seconds=LONG,
    keep_alive_seconds=LONG,
    linger_seconds=LONG,
    unread_seconds=LONG,
    stopping_seconds=LONG,
)
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"

App = Callable[[Any, Any, Any], Awaitable[None]]


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """Reads nothing, answers at once."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def whole(scope: Any, receive: Any, send: Any) -> None:
    """Reads the whole body first."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        if not message.get("more_body"):
            break
    await plain(scope, receive, send)


async def large(scope: Any, receive: Any, send: Any) -> None:
    """More than any buffer takes."""
    size = 32 * 1024 * 1024
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(size).encode())]})
    await send({"type": "http.response.body", "body": b"x" * size, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net_server, "LOOK_EVERY_SECONDS", LOOK)


class Place:
    """A running server, and what its clients do."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.writers: list[asyncio.StreamWriter] = []

    @property
    def connections(self) -> list[Connection]:
        return [one for one in self.server.server_state.connections if isinstance(one, Connection)]

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        return self.server.server_state.tasks

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():  # noqa: ASYNC110 (uvicorn rings nobody)
            await asyncio.sleep(0.005)

    @property
    def crowd(self) -> Crowd:
        kind: type[Connection] = self.server.config.http_protocol_class  # type: ignore[assignment]
        return kind.crowd

    async def connect(
        self, said: bytes = b"", *, local: str = "127.0.0.1"
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """What is said is there before the server takes the connection: no clock of its can run out in between."""
        config = self.server.config
        raw = socket.create_connection((config.host, config.port), source_address=(local, 0))
        raw.sendall(said)
        raw.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=raw)
        self.writers.append(writer)
        return reader, writer

    async def heard(self, said: bytes = b"") -> bytes:
        """All that comes until the server closes."""
        reader, _ = await self.connect(said)
        return await reader.read()


@asynccontextmanager
async def serving(
    app: App,
    patience: Patience,
    *,
    connections: int = 100,
    each: int = 100,
    proxies: Sequence[Network] = (),
) -> AsyncIterator[Place]:
    """A server with this much patience."""

    class Impatient(Connection):
        pass

    Impatient.patience = patience
    Impatient.crowd = Crowd(most=connections, proxies=proxies, each=each)
    listener = listen("127.0.0.1", 0)
    host, port = listener.getsockname()
    place = Place(Server(uvicorn_config(app, host, port, http=Impatient)))
    running = asyncio.create_task(place.server.serve(sockets=[listener]))
    async with asyncio.timeout(60):
        await place.server.ready.wait()
        try:
            yield place
        finally:
            for writer in place.writers:
                writer.close()
            for connection in place.connections:
                connection.transport.abort()
            place.server.should_exit = True
            await running


async def answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"content-length: 2\r\n" in head
    return head + await reader.readexactly(2)


def problem(said: bytes) -> tuple[int, str]:
    """Status and code of an answer that is a problem and the last on its connection."""
    head, _, body = said.partition(b"\r\n\r\n")
    lines = [line.lower() for line in head.split(b"\r\n")]
    found = json.loads(body)
    assert b"connection: close" in lines and b"content-type: application/problem+json" in lines
    assert f"content-length: {len(body)}".encode() in lines
    assert found["status"] == int(lines[0].split()[1]) and found["type"].endswith(f"#{found['code']}")
    return found["status"], found["code"]


# What a client may leave open, and what it hears


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"", b""),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx-dripped", (408, "too_slow")),
        (b"POST", (408, "too_slow")),
    ],
    ids=["nothing", "half a head", "half a line"],
)
async def test_a_head_that_does_not_come_is_not_waited_for(said: bytes, told: bytes | tuple[int, str]) -> None:
    async with serving(plain, Patience(head_seconds=SHORT)) as place:
        found = await place.heard(said)
        assert (problem(found) if said else found) == told
        place.writers[0].close()
        await place.until(lambda: not place.connections)


async def test_whoever_is_sent_away_and_stays_is_cut_off() -> None:
    async with serving(plain, Patience(head_seconds=SHORT, linger_seconds=SHORT)) as place:
        reader, _ = await place.connect(b"GET / HT")
        assert problem(await reader.read()) == (408, "too_slow")
        await place.until(lambda: not place.connections)


async def test_dripping_does_not_buy_time() -> None:
    async with serving(plain, Patience(head_seconds=0.3)) as place:
        reader, writer = await place.connect(b"GET / HTTP/1.1\r\n")
        closed = asyncio.create_task(reader.read())
        while not closed.done():
            writer.write(b"x: y\r\n")
            await asyncio.wait([closed], timeout=0.1)
        assert problem(await closed) == (408, "too_slow")


async def test_an_idle_connection_is_closed_after_its_answer_and_without_a_word() -> None:
    async with serving(plain, Patience(keep_alive_seconds=SHORT)) as place:
        reader, _ = await place.connect(GET)
        assert (await answer(reader)).startswith(b"HTTP/1.1 200")
        assert await reader.read() == b""


async def test_the_next_head_on_an_open_connection_has_its_own_limit() -> None:
    async with serving(plain, Patience(head_seconds=SHORT, keep_alive_seconds=LONG)) as place:
        reader, writer = await place.connect(GET)
        await answer(reader)
        writer.write(b"GET / HT")
        assert problem(await reader.read()) == (408, "too_slow")


async def test_a_body_nobody_reads_is_not_waited_for_after_its_answer() -> None:
    async with serving(plain, Patience(linger_seconds=SHORT)) as place:
        found = await place.heard(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 999\r\n\r\nhalf")
        assert found.startswith(b"HTTP/1.1 200") and found.endswith(b"ok")


MEGABYTE = b"x" * 1_000_000


async def test_four_megabytes_of_a_body_are_thrown_away_after_its_answer_and_the_connection_goes_on() -> None:
    async with serving(plain, NEVER) as place:
        reader, writer = await place.connect(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4000000\r\n\r\n")
        await answer(reader)
        for _ in range(4):
            writer.write(MEGABYTE)
            await writer.drain()
        writer.write(GET)
        assert (await answer(reader)).startswith(b"HTTP/1.1 200")


async def test_more_of_a_body_than_that_is_not_read_and_its_sender_hears_the_end() -> None:
    async with serving(plain, NEVER) as place:
        reader, writer = await place.connect(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 8000000\r\n\r\n")
        await answer(reader)
        for _ in range(4):
            writer.write(MEGABYTE)
            await writer.drain()
        assert not reader.at_eof()
        writer.write(MEGABYTE)
        async with asyncio.timeout(60):
            assert await reader.read() == b""


async def test_an_answer_that_nobody_reads_is_given_up() -> None:
    begun = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await large(scope, receive, send)

    async with serving(app, Patience(unread_seconds=SHORT)) as place:
        await place.connect(GET)
        await begun.wait()
        await place.until(lambda: not place.tasks)
        assert not place.connections


async def test_whoever_sends_and_reads_in_time_is_never_cut_off() -> None:
    hasty = Patience(head_seconds=LONG, keep_alive_seconds=LONG, linger_seconds=SHORT, unread_seconds=SHORT)
    async with serving(whole, hasty) as place:
        reader, writer = await place.connect()
        for _ in range(2):
            writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n")
            await asyncio.sleep(2 * SHORT + 2 * LOOK)  # the body is the application's to wait for
            writer.write(b"body")
            assert (await answer(reader)).startswith(b"HTTP/1.1 200")
        assert len(place.connections) == 1


async def test_requests_sent_at_once_are_answered_in_turn() -> None:
    async with serving(whole, NEVER) as place:
        reader, writer = await place.connect(GET * 3 + GET[:-2])
        for _ in range(3):
            assert (await answer(reader)).startswith(b"HTTP/1.1 200")
        [connection] = place.connections
        assert math.isfinite(connection.until)
        writer.write(b"\r\n")
        assert (await answer(reader)).startswith(b"HTTP/1.1 200")


# What a head may hold


HEAD = b"GET / HTTP/1.1\r\nhost: x\r\n"


@pytest.mark.parametrize(
    "said",
    [
        HEAD + b"x: " + b"y" * HEAD_BYTES + b"\r\n\r\n",
        HEAD + b"x: " + b"y" * (HEAD_BYTES + 400_000),
        b"GET /" + b"y" * (HEAD_BYTES + 400_000),
        HEAD + b"".join(b"x%d: y\r\n" % number for number in range(HEADERS)) + b"\r\n",
    ],
    ids=["one long header", "a header without an end", "a path without an end", "many headers"],
)
async def test_a_head_beyond_its_limits_is_refused_before_it_is_kept(said: bytes) -> None:
    reached = False

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal reached
        reached = True

    async with serving(app, NEVER) as place:
        reader, writer = await place.connect()
        writer.write(said)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        assert problem(head + await reader.readexactly(length)) == (431, "too_large")
    assert not reached


async def test_a_head_at_its_limits_is_taken() -> None:
    lines = [b"x%02d: y" % number for number in range(HEADERS - 2)]
    lines.append(b"z: " + b"y" * (HEAD_BYTES - sum(len(line) + 4 for line in lines) - 60))
    async with serving(plain, NEVER) as place:
        reader, _ = await place.connect(HEAD + b"\r\n".join(lines) + b"\r\n\r\n")
        assert (await answer(reader)).startswith(b"HTTP/1.1 200")


async def test_past_the_most_connections_the_next_is_told_to_come_back() -> None:
    async with serving(plain, NEVER, connections=2) as place:
        first, second = [await place.connect(GET) for _ in range(2)]
        await asyncio.gather(answer(first[0]), answer(second[0]))
        found = await place.heard(GET)
        assert problem(found) == (503, "unavailable") and b"retry-after: 5" in found
        first[1].write(GET)
        assert (await answer(first[0])).startswith(b"HTTP/1.1 200")


async def test_an_address_that_holds_its_share_is_told_so_and_others_are_served() -> None:
    async with serving(plain, NEVER, each=2) as place:
        for _ in range(2):
            reader, _ = await place.connect(GET)
            await answer(reader)
        found = await place.heard(GET)
        assert problem(found) == (429, "too_many_connections") and b"retry-after: 5" in found
        reader, _ = await place.connect(GET, local="127.0.0.2")
        assert (await answer(reader)).startswith(b"HTTP/1.1 200")
        place.writers[0].close()
        await place.until(lambda: place.crowd.held["127.0.0.1"] == 1)
        reader, _ = await place.connect(GET)
        assert (await answer(reader)).startswith(b"HTTP/1.1 200")


async def test_far_past_its_share_a_connection_is_dropped_without_a_word() -> None:
    async with serving(plain, NEVER, each=1) as place:
        await place.connect()
        waiting = [await place.connect() for _ in range(SPARE)]
        await place.until(lambda: place.crowd.held["127.0.0.1"] == SPARE + 1)
        reader, _ = await place.connect()
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        assert not any(reader.at_eof() for reader, _ in waiting)


async def test_whoever_there_is_no_room_for_is_waited_for_shortly() -> None:
    patience = Patience(hurry_seconds=SHORT, head_seconds=LONG)
    async with serving(plain, patience, each=1) as place:
        await place.connect()
        assert await place.heard() == b""
        assert problem(await place.heard(b"GET / HT")) == (408, "too_slow")


async def test_a_proxy_of_ours_holds_as_many_as_it_needs() -> None:
    async with serving(plain, NEVER, each=1, proxies=[ip_network("127.0.0.0/8")]) as place:
        for _ in range(3):
            reader, _ = await place.connect(GET)
            assert (await answer(reader)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("proxies", "client"), [([], "127.0.0.1"), (["127.0.0.1/32"], "192.0.2.9"), (["10.0.0.0/8"], "127.0.0.1")]
)
async def test_a_client_is_who_a_proxy_of_ours_says_and_nobody_elses_word_counts(
    proxies: list[str], client: str
) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["client"][0], scope["scheme"], scope["server"][0]))
        await plain(scope, receive, send)

    claims = b"x-forwarded-for: 6.6.6.6, 192.0.2.9\r\nforwarded: for=7.7.7.7\r\n"
    claims += b"x-forwarded-host: evil.example\r\nx-forwarded-proto: https\r\nx-real-ip: 8.8.8.8\r\n"
    async with serving(app, NEVER, proxies=[ip_network(one) for one in proxies]) as place:
        reader, _ = await place.connect(GET[:-2] + claims + b"\r\n")
        await answer(reader)
    assert seen == [(client, "http", "127.0.0.1")]


async def test_whoever_sends_requests_without_reading_answers_is_not_read_further() -> None:
    async with serving(large, NEVER) as place:
        _, writer = await place.connect(GET * 1000)
        await place.until(lambda: bool(place.connections))
        [connection] = place.connections
        await place.until(lambda: bool(connection.unread[1]) and len(connection.pipeline) > 0)
        writer.write(GET * 200_000)
        waiting = asyncio.ensure_future(writer.drain())
        await asyncio.wait([waiting], timeout=0.2)
        assert not waiting.done() and len(connection.pipeline) <= PIPELINED and len(connection._held) < 600_000
        waiting.cancel()


async def test_of_requests_sent_ahead_of_their_answers_one_starts_in_each_pass_of_the_loop() -> None:
    passes, started = 0, dict[tuple[str, int], list[int]]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        started.setdefault(scope["client"], []).append(passes)
        await plain(scope, receive, send)

    async with serving(app, NEVER) as place:
        opened = [await place.connect(GET * 30) for _ in range(10)]
        while sum(map(len, started.values())) < 10 * 30:
            await asyncio.sleep(0)
            passes += 1
        for reader, _ in opened:
            for _ in range(30):
                await answer(reader)
    at_once = Counter(at for ones in started.values() for at in ones[1:] if at > 0)  # else before it was counted
    assert len(at_once) > 100 and max(at_once.values()) <= 2, (
        "this count may come before it in one pass and behind it in the next"
    )


async def test_of_answers_that_nobody_reads_the_oldest_go_when_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(net_server, "UNREAD_BYTES", 48 * 1024 * 1024)  # one answer of 32 MB and no second
    async with serving(large, NEVER) as place:
        first, _ = await place.connect(GET)
        await place.until(lambda: [bool(one.unread[1]) for one in place.connections] == [True])
        await place.connect(GET)
        with suppress(ConnectionResetError):
            assert len(await first.read()) < 32 * 1024 * 1024
        assert len(place.connections) == 1


# When it is told to stop


async def test_a_stop_finishes_what_is_in_the_making_and_waits_for_nobody_else() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            begun.set()
            await go_on.wait()
            await plain(scope, receive, send)
        elif scope["path"] == "/large":
            await large(scope, receive, send)
        else:
            await whole(scope, receive, send)

    async with serving(app, Patience(stopping_seconds=SHORT, head_seconds=LONG, keep_alive_seconds=LONG)) as place:
        making, _ = await place.connect(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        await begun.wait()
        idle, _ = await place.connect(GET)
        await answer(idle)
        head, _ = await place.connect(b"GET / HTTP")
        half, _ = await place.connect(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf")
        await place.connect(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        await place.until(lambda: len(place.tasks) == 3)
        place.server.should_exit = True
        assert await idle.read() == b"" and await head.read() == b""
        assert problem(await half.read()) == (503, "unavailable")
        await place.until(lambda: len(place.connections) == 1)
        go_on.set()
        last = await making.read()
        assert last.startswith(b"HTTP/1.1 200") and b"connection: close" in last


async def test_a_stop_waits_a_moment_for_the_first_word_of_a_new_connection() -> None:
    patience = Patience(first_seconds=LONG, head_seconds=LONG)
    async with serving(plain, patience) as place:
        reader, writer = await place.connect()
        await place.until(lambda: len(place.connections) == 1)
        place.server.should_exit = True
        await place.until(lambda: place.connections[0]._stopping)
        writer.write(GET)
        found = await reader.read()
        assert found.startswith(b"HTTP/1.1 200") and b"connection: close" in found


async def test_a_stop_does_not_wait_for_long_for_whoever_says_nothing() -> None:
    async with serving(plain, Patience(first_seconds=SHORT, head_seconds=LONG)) as place:
        reader, _ = await place.connect()
        await place.until(lambda: len(place.connections) == 1)
        place.server.should_exit = True
        assert await reader.read() == b""
