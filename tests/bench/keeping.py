"""`make retention`: callbacks while a million rows are taken away, beside callbacks while nothing is; and the size of the file.

Pushes come at a steady rate, as they do, and each is timed from when it was to be sent. The served process has one core, the
generator the other.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import aiohttp
import uvloop

from service.bootstrap.stores import open_store
from service.bootstrap.world import clock
from service.core import ids
from service.core.times import DAY
from service.settings import Settings, load
from storage import callbacks, outbox, submissions, tasks
from storage.database import Connection
from storage.records import (
    Attempt,
    Delivery,
    DeliveryStatus,
    Event,
    ObservationRow,
    Submission,
    SubmissionStatus,
    Task,
    TaskStatus,
    TimelineEntry,
)
from tests.bench import seed, stage

ROWS_OF_A_TASK = 17
AGE_DAYS = 100
CHUNK = 200
PUSHES_A_SECOND = 200
SECONDS = 10
NEVER = {f"TASKRELAY_RETENTION__{what}_DAYS": "0" for what in ("RAW", "ATTEMPTS", "TASKS", "AUDIT")}
WHOLE = NEVER | {"TASKRELAY_RETENTION__TASKS_DAYS": "90"}  # the heaviest: each task with all that hangs on it at once


def main() -> None:
    wanted = argparse.ArgumentParser(prog="make retention", description=__doc__)
    wanted.add_argument("--rows", type=int, default=1_000_000)
    wanted.add_argument("--rounds", type=int, default=3)
    given = wanted.parse_args()
    with tempfile.TemporaryDirectory(prefix="taskrelay-keeping-") as folder:
        if not uvloop.run(measure(Path(folder), given.rows, given.rounds)):
            sys.exit(1)


async def measure(folder: Path, rows: int, rounds: int) -> bool:
    env = stage.environment(folder, callbacks="trust")
    settings, database = load(env), folder / "bench.db"
    to = await seed.tenant(settings, "http://127.0.0.1:9/hook", in_flight=8)
    count = rows // ROWS_OF_A_TASK
    began = time.monotonic()
    await old_tasks(settings, to, count)
    filled = size(database)
    say(f"{count * ROWS_OF_A_TASK:,} rows of {count:,} tasks that ended {AGE_DAYS} days ago: {megabytes(filled)}")
    still, busy = [], []
    for number in range(rounds):
        still += await callbacks_during(env | NEVER, settings, to, first=number * 10**6)
        before = left(database)
        busy += await callbacks_during(env | WHOLE, settings, to, first=number * 10**6 + 500_000)
        say(f"round {number + 1}: {before - left(database):,} old tasks went in {SECONDS} s of pushes")
    await keep_until_done(env, database)
    emptied = size(database)
    say(f"all gone after {time.monotonic() - began:.0f} s in all; the file: {megabytes(emptied)}")
    await old_tasks(settings, to, count)
    again = size(database)
    say(f"as many rows again: {megabytes(again)}, {again / emptied:.2f} of what it was")
    quiet, loud = p99(still), p99(busy)
    say(
        f"callbacks at {PUSHES_A_SECOND}/s, p99: {quiet * 1000:.1f} ms without, {loud * 1000:.1f} ms with: {loud / quiet:.2f} times"
    )
    return loud <= 2 * quiet and again <= 1.05 * emptied


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"


def size(database: Path) -> int:
    """Of the file, once all of the log is in it."""
    with closing(sqlite3.connect(database)) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return database.stat().st_size


def left(database: Path) -> int:
    with closing(sqlite3.connect(database)) as raw:
        [(count,)] = raw.execute("SELECT count(*) FROM tasks WHERE reference = 'old'").fetchall()
        return int(count)


def p99(seconds: list[float]) -> float:
    return sorted(seconds)[len(seconds) * 99 // 100]


async def callbacks_during(env: dict[str, str], settings: Settings, to: seed.Tenant, *, first: int) -> list[float]:
    """The latency of each push while a replica serves with these settings."""
    count = PUSHES_A_SECOND * SECONDS
    pushes = await seed.processing(settings, to.project_id, count, first=first, account="cloudsway")
    async with stage.child("serve", env=env) as served:
        port = int((await served.hear())["port"])
        connector = aiohttp.TCPConnector(limit=64)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", connector=connector) as session:
            began = time.perf_counter() + 0.5
            taken = await asyncio.gather(
                *(push(session, one, began + number / PUSHES_A_SECOND) for number, one in enumerate(pushes))
            )
        served.tell()
        await served.hear()
    return taken


async def push(session: aiohttp.ClientSession, one: seed.Push, at: float) -> float:
    await asyncio.sleep(at - time.perf_counter())
    async with session.post(one.path, data=one.body, headers={"content-type": "application/json"}) as reply:
        await reply.read()
        if reply.status != 200:
            raise RuntimeError(f"a push was answered with {reply.status}")
    return time.perf_counter() - at


async def keep_until_done(env: dict[str, str], database: Path) -> None:
    async with stage.child("serve", env=env) as served:
        await served.hear()
        while left(database):  # noqa: ASYNC110 (another process works)
            await asyncio.sleep(2)
        served.tell()
        await served.hear()


# What has piled up


async def old_tasks(settings: Settings, to: seed.Tenant, count: int) -> None:
    async with open_store(settings) as (database, _):
        begin = clock() - AGE_DAYS * DAY
        for start in range(0, count, CHUNK):
            made = [old_task(to, begin + number * 1000) for number in range(start, min(start + CHUNK, count))]

            async def unit(tx: Connection, made: list[Task] = made) -> None:
                for task in made:
                    await tasks.insert(tx, task)
                await submissions.insert(tx, [submission(task) for task in made])
                await callbacks.insert(tx, [one for task in made for one in observations(task)])
                await callbacks.note(tx, [one for task in made for one in timeline(task)])
                await outbox.publish(
                    tx, [e for task in made for e in events(task)], [d for t in made for d in owed(t, to)]
                )
                await outbox.note_attempts(tx, [attempt(one) for task in made for one in owed(task, to)])

            await database.write(unit)


def mint(prefix: str, at: int) -> str:
    return ids.mint(prefix, at, secrets.token_bytes(10))


def old_task(to: seed.Tenant, at: int) -> Task:
    return replace(
        seed.task(to.project_id, "cloudsway", 0),
        id=mint("task", at),
        provider_task_id=f"old-{secrets.token_hex(8)}",
        status=TaskStatus.EXPIRED,
        reference="old",
        due_at=None,
        created_at=at,
        finished_at=at,
        final_at=at,
        updated_at=at,
    )


def submission(task: Task) -> Submission:
    return Submission(
        id=ids.of_submission(task.id, 1),
        task_id=task.id,
        number=1,
        account=task.account,
        status=SubmissionStatus.ACCEPTED,
        deadline_at=task.created_at,
        created_at=task.created_at,
    )


def observations(task: Task) -> list[ObservationRow]:
    body = seed.push_body(task)
    return [
        ObservationRow(
            id=mint("obs", task.created_at),
            task_id=task.id,
            submission_id=ids.of_submission(task.id, 1),
            account=task.account,
            source="callback",
            claim="running",
            content='{"claim":"running","provider_status":"processing"}',
            raw=body,
            digest=secrets.token_bytes(32),
            seen_at=task.created_at,
            verified_at=task.created_at,
            version=number,
            context='{"look_up":true,"resend":true,"settle_seconds":120.0}',
        )
        for number in range(1, 5)
    ]


def timeline(task: Task) -> list[TimelineEntry]:
    return [
        TimelineEntry(
            task_id=task.id,
            version=number,
            ordinal=0,
            at=task.created_at,
            kind="running",
            source="poll",
            detail='{"provider_status":"processing"}',
        )
        for number in range(5)
    ]


def events(task: Task) -> list[Event]:
    return [
        Event(
            id=f"evt_{task.id[5:]}{number}",
            project_id=task.project_id,
            task_id=task.id,
            provider=task.provider,
            model=task.model,
            type="task.processing",
            sequence=number,
            created_at=task.created_at,
            body=BODY,
        )
        for number in range(2)
    ]


def owed(task: Task, to: seed.Tenant) -> list[Delivery]:
    return [
        Delivery(
            id=f"dlv_{task.id[5:]}{number}",
            event_id=f"evt_{task.id[5:]}{number}",
            endpoint_id=to.endpoint_id,
            project_id=task.project_id,
            task_id=task.id,
            event_type="task.processing",
            status=DeliveryStatus.DELIVERED,
            attempts=1,
            due_at=None,
            created_at=task.created_at,
            updated_at=task.created_at,
        )
        for number in range(2)
    ]


def attempt(delivery: Delivery) -> Attempt:
    return Attempt(
        delivery_id=delivery.id,
        number=1,
        at=delivery.created_at,
        duration_ms=12,
        status_code=204,
        error_class=None,
        response_head="",
    )


BODY = seed.event_body()

if __name__ == "__main__":
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    main()
