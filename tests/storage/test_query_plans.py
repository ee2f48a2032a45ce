"""The hot queries cost what is due and not what is stored: each runs on its index, whatever piles up beside it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

import orjson
import pytest

from storage import (
    account_tasks,
    audit,
    callbacks,
    delivery_pages,
    endpoints,
    lanes,
    listings,
    outbox,
    parties,
    projects,
    replays,
    standing,
    stocktake,
    submissions,
    subscriptions,
    tasks,
)
from storage.database import Connection
from storage.records import DeliveryStatus, LaneKind, SubmissionStatus, TaskStatus
from tests.storage.builders import (
    ACCOUNT,
    NOW,
    PAST,
    PROJECT,
    audited,
    delivery,
    event,
    finished,
    project,
    push,
    submission,
    task,
)
from tests.storage.conftest import opened

ACCOUNTS = orjson.dumps([ACCOUNT]).decode()
IN_DOUBT: dict[str, object] = {
    "project_id": PROJECT,
    "after": "",
    "provider": None,
    "account": None,
    "created_after": listings.FIRST,
    "created_before": listings.LAST,
    "batch": 20,
}
IDS = orjson.dumps([f"sub_{n}" for n in range(5)]).decode()
OF_ACCOUNT = {"account": ACCOUNT, "status": "processing", "now": NOW, "batch": 20}
OF_ENDPOINT = {"endpoint_id": "ep_1", "now": NOW, "batch": 20}
OF_PROJECT = {"project_id": PROJECT, "after": "zz", "endpoint": "ep_1", "status": "exhausted", "batch": 20}
GIVEN_UP = {"since": PAST, "floor": "dlv_"}
EVENT_IDS = orjson.dumps([f"evt_{n}" for n in range(5)]).decode()
TASK_IDS = orjson.dumps([f"task_{n}" for n in range(5)]).decode()
OF_SUBJECT = {"project_id": PROJECT, "after": audit.BEHIND_ALL, "batch": 20}
CLAIM = {"accounts": ACCOUNTS, "now": NOW, "ttl": 60, "owner": "a", "batch": 20}

NO_TABLES = {"SCAN CONSTANT ROW", "SCAN w", "SCAN q"} | {  # a row for each project, made along the index
    f"SCAN {name}"
    for name in ("f", "firsts", "agains", "never_tried", "tried", "waiting")  # and what a limit cut off
}

# Query, its parameters, the index that must carry it.
HOT = {
    "account_tasks.DUE": (account_tasks.DUE, OF_ACCOUNT, "tasks_due"),
    "account_tasks.QUEUED": (account_tasks.QUEUED, {**OF_ACCOUNT, "project_id": PROJECT}, "tasks_queued"),
    "account_tasks.QUEUED_PROJECTS": (
        account_tasks.QUEUED_PROJECTS,
        {**OF_ACCOUNT, "after": "", "up_to": "zz"},
        "tasks_queued",
    ),
    "account_tasks.NEXT_QUEUED": (account_tasks.NEXT_QUEUED, {**OF_ACCOUNT, "after": "", "past": NOW}, "tasks_queued"),
    "account_tasks.COUNT_QUEUED": (account_tasks.COUNT_QUEUED, {"account": ACCOUNT, "bound": 20}, "tasks_queued"),
    "account_tasks.NEXT_DUE": (account_tasks.NEXT_DUE, OF_ACCOUNT, "tasks_due"),
    "account_tasks.NEXT_DUE_AFTER": (account_tasks.NEXT_DUE_AFTER, OF_ACCOUNT, "tasks_due"),
    "account_tasks.PAST_DEADLINE": (
        account_tasks.PAST_DEADLINE,
        {**OF_ACCOUNT, "statuses": '["processing"]'},
        "tasks_overdue",
    ),
    "account_tasks.PROCESSING_ONE": (account_tasks.PROCESSING_ONE, {"account": ACCOUNT}, "tasks_open"),
    "account_tasks.ADRIFT": (account_tasks.ADRIFT, {"account": ACCOUNT}, "tasks_open"),
    "account_tasks.OPEN_AT_PROVIDER": (account_tasks.OPEN_AT_PROVIDER, {"account": ACCOUNT}, "tasks_open"),
    "account_tasks.OVERDUE": (account_tasks.OVERDUE, {"before": NOW, "batch": 20}, "tasks_overdue"),
    "tasks.BY_IDS": (tasks.BY_IDS, {"ids": IDS}, "sqlite_autoindex_tasks_1"),
    "tasks.BY_SUBMISSIONS": (tasks.BY_SUBMISSIONS, {"ids": IDS}, "PRIMARY KEY"),
    "tasks.OWNER_OF_PROVIDER_TASK": (
        tasks.OWNER_OF_PROVIDER_TASK,
        {"account": ACCOUNT, "provider_task_id": "job_7"},
        "tasks_by_provider_task",
    ),
    "listings.UNCONFIRMED": (listings.UNCONFIRMED, IN_DOUBT, "tasks_open"),
    "audit.OF_TASK": (audit.OF_TASK, {"task_id": "task_7"}, "audit_by_task"),
    "audit.PAGE": (audit.PAGE, {"project_id": PROJECT, "after": audit.BEHIND_ALL, "batch": 20}, "audit_by_project"),
    "callbacks.UNVERIFIED": (callbacks.UNVERIFIED, {"account": ACCOUNT, "batch": 20}, "observations_unverified"),
    "callbacks.ANY_UNVERIFIED": (callbacks.ANY_UNVERIFIED, {"account": ACCOUNT}, "observations_unverified"),
    "callbacks.PUSHED": (callbacks.PUSHED, {"task_id": "task_7", "batch": 20}, "sqlite_autoindex_observations_1"),
    "outbox.DUE_FIRST": (outbox.DUE_FIRST, OF_ENDPOINT, "deliveries_first"),
    "outbox.DUE_AGAIN": (outbox.DUE_AGAIN, OF_ENDPOINT, "deliveries_again"),
    "outbox.NEXT_DUE": (outbox.NEXT_DUE, OF_ENDPOINT, "deliveries_first"),
    "outbox.NEXT_DUE again": (outbox.NEXT_DUE, OF_ENDPOINT, "deliveries_again"),
    "outbox.NEXT_DUE_AFTER": (outbox.NEXT_DUE_AFTER, OF_ENDPOINT, "deliveries_first"),
    "outbox.NEXT_DUE_AFTER again": (outbox.NEXT_DUE_AFTER, OF_ENDPOINT, "deliveries_again"),
    "outbox.CANCEL_FIRST": (outbox.CANCEL_FIRST, OF_ENDPOINT, "deliveries_first"),
    "outbox.CANCEL_AGAIN": (outbox.CANCEL_AGAIN, OF_ENDPOINT, "deliveries_again"),
    "delivery_pages.PENDING": (delivery_pages.PENDING, {**OF_PROJECT, "most": 20}, "deliveries_first"),
    "delivery_pages.PENDING again": (delivery_pages.PENDING, {**OF_PROJECT, "most": 20}, "deliveries_again"),
    "delivery_pages.FAILED": (delivery_pages.FAILED, OF_PROJECT, "deliveries_failed"),
    "delivery_pages.FAILING": (delivery_pages.FAILING, OF_PROJECT, "deliveries_failed"),
    "standing.TRIED_AGAIN": (standing.TRIED_AGAIN, {**OF_ENDPOINT, "most": 20}, "deliveries_again"),
    "standing.GAVE_UP": (standing.GAVE_UP, {**OF_PROJECT, "endpoint_id": "ep_1", "most": 20}, "deliveries_failed"),
    "standing.BACKLOG": (standing.BACKLOG, {**OF_ENDPOINT, "most": 20}, "deliveries_first"),
    "replays.RESTART_FAILED": (replays.RESTART_FAILED, {**OF_PROJECT, **OF_ENDPOINT, **GIVEN_UP}, "deliveries_failed"),
    "endpoints.ANY_EXPIRED": (endpoints.ANY_EXPIRED, {"now": NOW}, "endpoints_expiring"),
    "endpoints.LOCK_EXPIRED": (endpoints.LOCK_EXPIRED, {"now": NOW, "batch": 20}, "endpoints_expiring"),
    "audit.PAGE_OF_TASK": (audit.PAGE_OF_TASK, {**OF_SUBJECT, "subject": "task_7"}, "audit_by_task"),
    "audit.PAGE_OF_ENDPOINT": (audit.PAGE_OF_ENDPOINT, {**OF_SUBJECT, "subject": "ep_7"}, "audit_by_endpoint"),
    "subscriptions.BETWEEN": (
        subscriptions.BETWEEN,
        {"project_id": PROJECT, "after": 0, "upto": 20},
        "subscriptions_by_project",
    ),
    "subscriptions.END": (subscriptions.END, {"endpoint_id": "ep_1", "still": subscriptions.STILL}, "PRIMARY KEY"),
    "stocktake.TOLD": (stocktake.TOLD, {"project_id": PROJECT, "after": 0, "batch": 20}, "events_by_project"),
    "stocktake.OWED": (stocktake.OWED, {"events": EVENT_IDS}, "deliveries_once"),
    "stocktake.TASKS": (stocktake.TASKS, {"project_id": PROJECT, "after": "", "batch": 20}, "tasks_by_project"),
    "stocktake.ENDS": (stocktake.ENDS, {"tasks": TASK_IDS}, "events_by_task"),
    "stocktake.NAMED": (stocktake.NAMED, {"tasks": TASK_IDS}, "submissions_by_task"),
    "parties.PARTIES": (parties.PARTIES, {"ids": IDS}, "sqlite_autoindex_endpoints_1"),
    "lanes.CLAIM": (lanes.CLAIM, CLAIM, "lanes_due"),
    "lanes.HEARTBEAT": (lanes.HEARTBEAT, CLAIM, "lanes_owned"),
    "lanes.VOID_LEASES": (lanes.VOID_LEASES, {}, "lanes_owned"),
    "lanes.NEXT_CLAIM": (lanes.NEXT_CLAIM, CLAIM, "lanes_due"),
}


async def fill(path: str, finished_rows: int) -> None:
    """Thirty rows of each sort that are due or open, and as many as asked for that are over."""

    async def due(tx: Connection) -> None:
        await projects.insert(tx, project())
        for n in range(30):
            open_task = task(f"task_{n}", status=TaskStatus.PROCESSING, due_at=PAST, deadline_at=PAST)
            await tasks.insert(tx, replace(open_task, provider_task_id=f"job_{n}"))
        await submissions.insert(tx, [submission(f"sub_{n}", f"task_{n}") for n in range(30)])
        await callbacks.insert_pushes(tx, [push(f"obs_{n}") for n in range(30)])
        owed = [delivery(f"dlv_{n}", event_id=f"evt_{n}") for n in range(30)]
        await outbox.publish(tx, [event(f"evt_{n}") for n in range(30)], owed)
        await lanes.arrive(tx, {(LaneKind.ENDPOINT, f"ep_{n}"): PAST for n in range(30)})

    async def over(tx: Connection) -> None:
        numbers = range(finished_rows)
        for n in numbers:
            await tasks.insert(tx, finished(f"task_f{n}", provider_task_id=f"job_f{n}", deadline_at=PAST))
        settled = [submission(f"sub_f{n}", f"task_f{n}", status=SubmissionStatus.ACCEPTED) for n in numbers]
        await submissions.insert(tx, settled)
        await callbacks.insert_pushes(tx, [push(f"obs_f{n}", verified_at=NOW) for n in numbers])
        await audit.insert(tx, [audited(f"aud_f{n}", project_id="prj_2", task_id=f"task_f{n}") for n in numbers])
        done = [
            delivery(f"dlv_f{n}", event_id=f"evt_f{n}", status=DeliveryStatus.DELIVERED, due_at=None) for n in numbers
        ]
        await outbox.publish(tx, [event(f"evt_f{n}") for n in numbers], done)
        await lanes.arrive(tx, {(LaneKind.ENDPOINT, f"ep_f{n}"): PAST for n in numbers})
        await tx.fetch("UPDATE lanes SET next_due_at = NULL WHERE key LIKE 'ep_f%'")

    async with opened(f"sqlite:///{path}", lambda: NOW) as database:
        await database.write(due)
        await database.write(over)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[sqlite3.Connection, sqlite3.Connection]]:
    """A young database and an old one, with the same work to do."""
    folder = tmp_path_factory.mktemp("plans")
    for name, finished_rows in (("young", 0), ("old", 3000)):
        asyncio.run(fill(f"{folder}/{name}.db", finished_rows))
    with (
        closing(sqlite3.connect(folder / "young.db", isolation_level=None)) as young,
        closing(sqlite3.connect(folder / "old.db", isolation_level=None)) as old,
    ):
        yield young, old


def plan(raw: sqlite3.Connection, text: str, params: Mapping[str, object]) -> list[str]:
    return [row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {text}", params)]


def run(raw: sqlite3.Connection, text: str, params: Mapping[str, object]) -> tuple[list[Any], int]:
    """The rows, and how many instructions of SQLite's machine they took."""
    count = 0

    def tick() -> None:
        nonlocal count
        count += 1

    raw.execute("BEGIN")
    raw.set_progress_handler(tick, 1)
    try:
        return raw.execute(text, params).fetchall(), count
    finally:
        raw.set_progress_handler(None, 1)
        raw.execute("ROLLBACK")


@pytest.mark.parametrize(("text", "params", "index"), HOT.values(), ids=HOT)
def test_a_hot_query_runs_on_its_index(
    files: tuple[sqlite3.Connection, sqlite3.Connection], text: str, params: Mapping[str, object], index: str
) -> None:
    steps = plan(files[1], text, params)
    wanted = index if index == "PRIMARY KEY" else f"INDEX {index}"  # a table without rowid is its own index
    assert any(f"{wanted} " in f"{step} " for step in steps), steps
    scans = [step for step in steps if step.startswith("SCAN ") and "json_each" not in step and index not in step]
    assert [scan for scan in scans if scan not in NO_TABLES] == []


def test_a_lane_left_without_a_time_is_found_without_reading_tasks(
    files: tuple[sqlite3.Connection, sqlite3.Connection],
) -> None:
    steps = plan(files[1], lanes.STRANDED_ACCOUNTS, {})
    assert {"tasks_queued", "tasks_due"} <= {word for step in steps for word in step.split()}
    assert [step for step in steps if step.startswith("SCAN ") and step not in ("SCAN lanes", "SCAN halves")] == []


@pytest.mark.parametrize(("text", "params", "index"), HOT.values(), ids=HOT)
def test_a_hot_query_costs_the_same_beside_thousands_of_finished_rows(
    files: tuple[sqlite3.Connection, sqlite3.Connection], text: str, params: Mapping[str, object], index: str
) -> None:
    (young_rows, young_cost), (old_rows, old_cost) = (run(raw, text, params) for raw in files)
    assert old_rows == young_rows
    assert old_cost <= young_cost * 1.1
