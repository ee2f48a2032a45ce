"""Clients and stops with the real spans: a thousand that never finish, and stops with a provider, a disk or a lock in the way."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sqlite3
import statistics
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from service.sandbox.jobs import Knobs
from tests.e2e.stack import COMMAND, Stack, installation
from tests.e2e.test_disk import bought, creates, ended, eventually
from tests.e2e.test_locked import held
from tests.e2e.test_stop import FINISHED_WITHIN_SECONDS, HEAD, rows, stopped_and_resumed
from tests.faults.disk import Seam

CLIENTS = int(os.environ.get("FAULT_CLIENTS", "1000"))
HEAD_SECONDS, BODY_SECONDS, SLACK_SECONDS = 10.0, 20.0, 5.0
EXIT_SECONDS = 30.0
ORDER = {"provider": "cloudsway", "model": "kling-3.0-turbo", "input": {"prompt": "A paper boat"}}


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def megabytes(stack: Stack) -> float:
    assert stack.process is not None
    status = Path(f"/proc/{stack.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


async def closed_after(stack: Stack, said: bytes) -> float:
    """Seconds until the server closes on a client that says this and no more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.port)
    began = time.monotonic()
    writer.write(said)
    with suppress(ConnectionResetError):
        await reader.read()
    writer.close()
    return time.monotonic() - began


@pytest.mark.timeout(170)
async def test_a_thousand_clients_that_never_finish_are_closed_in_time_and_cost_the_others_nothing(
    tmp_path: Path,
) -> None:
    async with installation(tmp_path) as stack:
        await stack.start()
        push = stack.push_path("sub_00000000000000000000000000")
        half = "content-length: 900\r\n\r\n{{"
        kinds = {
            "nothing": (b"", HEAD_SECONDS),
            "head": (HEAD.format(path="/v1/tasks", key=stack.key).encode(), HEAD_SECONDS),
            "body": ((HEAD + half).format(path="/v1/tasks", key=stack.key).encode(), BODY_SECONDS),
            "push": ((HEAD + half).format(path=push, key="").encode(), BODY_SECONDS),
        }
        waiting = [
            (limit, asyncio.create_task(closed_after(stack, said)))
            for _ in range(CLIENTS // len(kinds))
            for said, limit in kinds.values()
        ]
        waits: list[float] = []
        async with stack.client() as client:
            while not all(task.done() for _, task in waiting):
                for path in ("/livez", "/v1/tasks"):
                    began = time.monotonic()
                    assert (await client.get(path)).status_code == 200
                    waits.append(time.monotonic() - began)
                await asyncio.sleep(0.02)
        over = [(limit, task.result()) for limit, task in waiting if task.result() > limit + SLACK_SECONDS]
        p99 = statistics.quantiles(waits, n=100)[98]
        assert over == []
        assert p99 < 2.0 and megabytes(stack) < 300, (p99, megabytes(stack))


@pytest.mark.timeout(170)
async def test_whatever_is_too_large_is_refused_before_it_is_kept(tmp_path: Path) -> None:
    async with installation(tmp_path) as stack:
        await stack.start()
        push = stack.push_path("sub_00000000000000000000000000")
        line = b"x" * 65_536
        chunk = b"10000\r\n" + line + b"\r\n"
        chunked = HEAD.format(path=push, key="").encode() + b"transfer-encoding: chunked\r\n\r\n"
        for begin, part, count in (
            (b"GET / HTTP/1.1\r\nx: ", line, 460),  # 30 MB of header
            (b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 5000, 4),
            (chunked, chunk, 4096),  # 256 MB of body
        ):
            _, writer = await asyncio.open_connection("127.0.0.1", stack.port)
            writer.write(begin)
            try:
                for _ in range(count):
                    writer.write(part)
                    await writer.drain()
            except ConnectionError:
                pass
            writer.close()
        async with stack.client() as client:
            assert (await client.get("/livez")).status_code == 200
        assert megabytes(stack) < 300


async def stopped(stack: Stack) -> float:
    """Seconds from SIGTERM to the end, which is in time and with 0."""
    assert stack.process is not None
    began = time.monotonic()
    stack.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(EXIT_SECONDS + 5):
        code = await stack.process.wait()
    took = time.monotonic() - began
    said = await asyncio.to_thread((stack.folder / "service.log").read_text)
    assert code == 0 and took <= EXIT_SECONDS, (code, took, said[-3000:])
    return took


@pytest.mark.timeout(170)
async def test_five_hundred_clients_that_never_finish_do_not_hold_up_a_stop(tmp_path: Path) -> None:
    assert await stopped_and_resumed(tmp_path, CLIENTS // 2) < FINISHED_WITHIN_SECONDS


@pytest.mark.timeout(170)
async def test_a_purchase_that_outlasts_a_stop_is_handed_back_and_found_again(tmp_path: Path) -> None:
    settings = {"TASKRELAY_TIMING__SUBMIT_DEADLINE_SECONDS": "45"}
    async with installation(
        tmp_path, knobs=Knobs(job_seconds=0.2, unique_external_id=False), settings=settings
    ) as stack:
        await stack.start()
        task_id = (await stack.create(input={"prompt": "A boat [sandbox: hang-after, no-push]"})).json()["id"]
        await stack.until(lambda: bought(stack) == 1, "the purchase under way")
        assert await stopped(stack) > 15
        assert rows(stack, "SELECT key FROM lanes WHERE owner IS NOT NULL OR until > 0") == []
        stack.extra["TASKRELAY_TIMING__SUBMIT_DEADLINE_SECONDS"] = "2"
        await stack.start()
        async with stack.client() as client:
            await eventually("its end", lambda: ended(client, {task_id}), stack)
        assert bought(stack) == creates(stack) == 1


@pytest.mark.timeout(170)
async def test_an_answer_that_finds_no_room_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    disk = Seam(tmp_path)
    knobs = Knobs(job_seconds=0.2, unique_external_id=False)
    async with installation(tmp_path, knobs=knobs, run=disk.command(COMMAND)) as stack:
        await stack.start()
        task_id = (await stack.create(input={"prompt": "A boat [sandbox: late-reply=1, no-push]"})).json()["id"]
        await stack.until(lambda: creates(stack) == 1, "the purchase under way")
        disk.fill()
        await stack.until(lambda: bought(stack) == 1, "its answer")
        await stopped(stack)
        disk.free()
        await stack.start()
        async with stack.client() as client:
            await eventually("its end", lambda: ended(client, {task_id}), stack)
        assert bought(stack) == creates(stack) == 1


@pytest.mark.timeout(170)
async def test_a_database_that_is_locked_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    async with installation(tmp_path) as stack:
        await stack.start()
        with closing(sqlite3.connect(tmp_path / "taskrelay.db", isolation_level=None)) as foreign:
            foreign.execute("BEGIN EXCLUSIVE")
            waiting = asyncio.create_task(stack.create())
            await asyncio.sleep(0.2)
            await stopped(stack)
            assert (await waiting).status_code == 503


@pytest.mark.timeout(120)
async def test_ten_seconds_of_a_foreign_writer_are_answered_and_over_at_once(tmp_path: Path) -> None:
    await held(tmp_path, 10)
