"""Told to stop with everything in flight and clients that never finish: ends in time, with 0, and loses nothing."""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
import time
from pathlib import Path

import pytest

from service.sandbox.jobs import Knobs
from service.sandbox.subscriber import Answers
from tests.e2e.stack import Stack, installation
from tests.e2e.test_disk import bought, creates
from tests.outside import Outside

pytestmark = pytest.mark.slow

STUCK = 100  # five hundred: make faults
FINISHED_WITHIN_SECONDS = 25.0
HEAD = "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"


async def stuck_clients(stack: Stack, count: int) -> list[asyncio.StreamWriter]:
    """As many of each: half a head, half a body, idle after an answer, asking and never reading, a stream, a long poll."""
    head = HEAD.format(path="/v1/tasks", key=stack.key).encode()
    idle = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"
    # More than the buffers of both sides take: the answers pile up, and the server waits for a reader.
    unread = f"GET /v1/providers HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {stack.key}\r\n\r\n".encode() * 100
    held = f" HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {stack.key}\r\n\r\n".encode()
    stream, poll = b"GET /v1/events/stream" + held, b"GET /v1/events?wait=60" + held
    said = (head, head + b"content-length: 900\r\n\r\n{", idle, unread, stream, poll)
    writers = []
    for number in range(count):
        reader, writer = await asyncio.open_connection(sock=await _narrow(stack.port), limit=2048)
        writer.write(said[number % len(said)])
        if said[number % len(said)] is idle:
            await reader.readuntil(b"\r\n\r\n")
        writers.append(writer)
    return writers


async def _narrow(port: int) -> socket.socket:
    """A connection whose client takes in little before it reads."""
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.setblocking(False)
    await asyncio.get_running_loop().sock_connect(narrow, ("127.0.0.1", port))
    return narrow


def rows(stack: Stack, sql: str) -> list[tuple[object, ...]]:
    with Outside(stack.database_url) as database:
        return database.rows(sql)


async def in_the_middle(stack: Stack) -> tuple[str, str]:
    """One task being bought, one whose end is being delivered. Returns their ids."""
    stack.subscriber.answers = Answers(status=None, times=1)  # the first event hangs until the attempt is over
    delivered = (await stack.create()).json()["id"]
    await stack.until(lambda: len(stack.subscriber.received) == 1, "the delivery under way")
    buying = (await stack.create(input={"prompt": "A boat [sandbox: late-reply=1.5]"})).json()["id"]
    await stack.until(lambda: creates(stack) == 2, "the purchase under way")
    return delivered, buying


async def stopped_and_resumed(folder: Path, stuck: int) -> float:
    """The whole story; returns how long the stop took."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    settings = {"TASKRELAY_TIMING__ATTEMPT_TIMEOUT_SECONDS": "3", "TASKRELAY_TIMING__SUBMIT_DEADLINE_SECONDS": "10"}
    async with installation(folder, knobs=Knobs(job_seconds=0.2), settings=settings) as stack:
        await stack.start()
        await stack.subscribe()
        push = stack.push_path("sub_00000000000000000000000000")
        writers = await stuck_clients(stack, stuck)
        delivered, buying = await in_the_middle(stack)
        reader, writer = await asyncio.open_connection("127.0.0.1", stack.port)
        writer.write(f"POST {push} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 8\r\n\r\n".encode())
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"  # its body is waited for
        assert stack.process is not None
        stack.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        await stack.until(lambda: b"stopping" in (folder / "service.log").read_bytes(), "the word that it stops")
        writer.write(b'{"n": 1}')
        assert (await reader.readline()).startswith(b"HTTP/1.1 202"), "a push that was coming in is taken"
        for number in (signal.SIGTERM, signal.SIGINT):
            stack.process.send_signal(number)  # changes nothing
        async with asyncio.timeout(30):
            code = await stack.process.wait()
        took = time.monotonic() - began
        for one in (*writers, writer):
            one.close()
        assert code == 0, (folder / "service.log").read_text()[-3000:]
        assert bought(stack) == 2
        assert rows(stack, "SELECT key FROM lanes WHERE owner IS NOT NULL OR until > 0") == []
        assert (buying,) in rows(stack, "SELECT id FROM tasks WHERE provider_task_id IS NOT NULL")
        assert rows(stack, "SELECT count(*) FROM callbacks") == [(1,)]
        await stack.start()
        await stack.until(lambda: len({one.webhook_id for one in stack.subscriber.received}) == 2, "both events")
        await settled(stack, delivered, buying)
    return took


async def settled(stack: Stack, delivered: str, buying: str) -> None:
    """Both tasks ended, bought once; what came twice came with one id and one body."""
    for task_id in (delivered, buying):
        assert (await stack.task(task_id))["status"] == "succeeded"
    await stack.until(lambda: len(stack.subscriber.received) >= 3, "the event whose first attempt hung")
    received = list(stack.subscriber.received)
    assert all(one.valid for one in received)
    assert len({(one.webhook_id, one.sha256) for one in received}) == 2
    assert bought(stack) == creates(stack) == 2


@pytest.mark.timeout(400)
async def test_a_stop_ends_in_time_whatever_clients_do_and_loses_nothing(tmp_path: Path) -> None:
    assert await stopped_and_resumed(tmp_path, STUCK) < FINISHED_WITHIN_SECONDS
