"""The balancer asks who is ready, repeats nothing that was sent, and counts what a client sees."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest

from service.cli.demo.stage import free_port
from tests.chaos import balancer as balancers
from tests.chaos.balancer import Balancer

Open = Callable[[int], Awaitable["Backend"]]


class Backend:
    """Answers /readyz as told, and anything else with its status, or by hanging up (None)."""

    def __init__(self) -> None:
        self.ready = True
        self.status: int | None = 200
        self.silent = False
        self.bodies: list[bytes] = []
        self.looked = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if self.silent:
            await reader.read()
        elif head.startswith(b"GET /readyz"):
            self._answer(writer, 200 if self.ready else 503, b"")
            self.looked.set()
        else:
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            self.bodies.append(await reader.readexactly(int(length.partition(b":")[2])))
            if self.status is not None:
                self._answer(writer, self.status, b"done")
        writer.close()

    def _answer(self, writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
        writer.write(
            b"HTTP/1.1 %d Said\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (status, len(body), body)
        )


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    async with AsyncExitStack() as ending:

        async def open_one(port: int) -> Backend:
            backend = Backend()
            server = await asyncio.start_server(backend, "127.0.0.1", port)
            ending.callback(server.close)
            return backend

        yield open_one


@asynccontextmanager
async def balancing(*ports: int) -> AsyncIterator[tuple[Balancer, httpx.AsyncClient]]:
    async with (
        Balancer(ports) as balancer,
        httpx.AsyncClient(base_url=balancer.url, trust_env=False, verify=False) as client,
    ):
        yield balancer, client


async def test_only_the_ready_are_asked_and_what_they_say_is_passed_on(opened: Open) -> None:
    ports = free_port(), free_port()
    first, second = [await opened(port) for port in ports]
    first.ready = False
    async with balancing(*ports) as (balancer, client):
        await first.looked.wait()
        await balancer.until_ready([1])
        replies = [await client.post("/v1/tasks", content=b"%d" % number) for number in range(3)]
    assert [(reply.status_code, reply.content) for reply in replies] == [(200, b"done")] * 3
    assert (first.bodies, second.bodies) == ([], [b"0", b"1", b"2"])
    assert (balancer.answered, balancer.trouble.total()) == (3, 0)


async def test_a_refused_connection_is_somebody_elses_request_and_no_client_sees_it(opened: Open) -> None:
    gone, port = free_port(), free_port()
    backend = await opened(port)
    async with balancing(gone, port) as (balancer, client):
        await balancer.until_ready([1])
        for _ in range(2):
            balancer.backends[0].ready = True  # it was, a moment ago
            assert (await client.post("/v1/tasks", content=b"once")).status_code == 200
    assert backend.bodies == [b"once"] * 2
    assert (balancer.moved, balancer.trouble.total()) == (1, 0)


async def test_what_was_sent_is_never_sent_again_and_its_loss_is_counted(opened: Open) -> None:
    ports = free_port(), free_port()
    backends = [await opened(port) for port in ports]
    for backend in backends:
        backend.status = None
    async with balancing(*ports) as (balancer, client):
        await balancer.until_ready([0, 1])
        reply = await client.post("/v1/tasks", content=b"once")
    assert reply.status_code == 503
    assert sum(len(backend.bodies) for backend in backends) == 1
    assert balancer.trouble == {"POST /v1/tasks: connection lost (IncompleteReadError)": 1}


async def test_a_replicas_own_5xx_is_counted_and_its_4xx_is_not(opened: Open) -> None:
    port = free_port()
    backend = await opened(port)
    async with balancing(port) as (balancer, client):
        await balancer.until_ready([0])
        for status in (503, 409):
            backend.status = status
            assert (await client.post("/callbacks/x/token", content=b"")).status_code == status
    assert balancer.trouble == {"POST /callbacks: answered 503": 1}


async def test_with_nobody_ready_a_client_is_told_so() -> None:
    async with balancing(free_port()) as (balancer, client):
        assert (await client.get("/v1/events?after=x", headers={"content-length": "0"})).status_code == 503
    assert balancer.trouble == {"GET /v1/events: no replica is ready": 1}


async def test_a_silent_replica_is_asked_some_more_times_before_it_gets_no_more(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(balancers, "READY_WITHIN_SECONDS", 0.02)
    monkeypatch.setattr(balancers, "LOOK_SECONDS", 0.01)
    port = free_port()
    backend = await opened(port)
    async with balancing(port) as (balancer, client):
        await balancer.until_ready([0])
        backend.silent = True
        seen = set()
        while balancer.backends[0].ready:
            seen.add(balancer.backends[0].silent)
            await asyncio.sleep(0)
        assert seen == {0, 1, 2}
        backend.silent = False
        balancer.backends[0].ready = False  # whoever only was silent is better than nobody
        assert (await client.post("/v1/tasks", content=b"late")).status_code == 200
