"""The same on PostgreSQL: each hot query reads what is due by an index, whatever piles up beside it, also by a plan made for any values."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, TypeAlias

import asyncpg
import orjson
import pytest

from storage import answers, books, ends, erasing, lanes, load, retention, tasks
from storage.dialect import postgres
from tests.postgres import database
from tests.storage.builders import ACCOUNT, NOW, PAST, PROJECT
from tests.storage.test_query_plans import HOT, IDS

pytestmark = pytest.mark.slow

Link: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

FINISHED = 30_000  # rows of each sort that are over
SMALL = 300  # rows that a plan may read one after another: what is due, and the parties there are
# Tables of the big sort; the others have a row for each party or person.
BIG = ("tasks", "submissions", "observations", "audit", "events", "deliveries", "lanes", "answers", "bookings")

TASKS = """
    INSERT INTO tasks (id, project_id, account, provider, model, status, input, provider_options, fallbacks, metadata, outputs, late,
        charge, submissions, resends, on_ambiguous, surplus, streak_count, sequence, version, deadline_at, created_at, updated_at,
        provider_task_id, due_at, finished_at, final_at)
    SELECT 'task_' || word || n, :project, :account, 'cloudsway', 'kling', status, '{}', '{}', '[]', '{}', '[]', 0,
        'none', 1, 0, 'hold', '[]', 0, 1, 1, :past, :now + n, :now,
        'job_' || word || n, due_at, finished_at, finished_at
      FROM (VALUES ('f', 'succeeded', NULL, :now, :finished), ('', 'processing', :past, NULL, 30), ('q', 'queued', :past, NULL, 30))
           AS sorts (word, status, due_at, finished_at, count), LATERAL generate_series(1, count) n
"""
FILL = [
    """
    INSERT INTO projects (id, name, secret, on_ambiguous, created_at)
    SELECT 'prj_' || n, 'n' || n, '', 'hold', 0 FROM generate_series(1, 20) n
    """,
    TASKS,
    """
    INSERT INTO submissions (id, task_id, number, account, status, deadline_at, created_at)
    SELECT replace(id, 'task', 'sub'), id, 1, :account, 'accepted', :past, :now FROM tasks WHERE project_id = :project
    """,
    """
    INSERT INTO observations (id, task_id, submission_id, account, source, claim, content, digest, seen_at, verified_at)
    SELECT replace(id, 'task', 'obs'), id, replace(id, 'task', 'sub'), :account, 'callback', 'succeeded', '{}', sha256(id::bytea), :now,
           CASE WHEN finished_at IS NULL THEN NULL ELSE :past END
      FROM tasks WHERE project_id = :project
    """,
    """
    INSERT INTO audit (id, project_id, task_id, endpoint_id, action, detail, at)
    SELECT replace(id, 'task', 'aud'), :project, id, 'ep_' || id, :account, '', coalesce(:past, :now) FROM tasks
    """,
    """
    INSERT INTO endpoints (id, project_id, url, status, hidden, format, signatures, max_in_flight, created_at, updated_at, expires_at)
    SELECT 'ep_' || n, :project, 'https://a.test/' || :account, 'active', 0, 'standard', 'v1', 8, :past, :now, NULL::bigint
      FROM generate_series(1, 30) n
    """,
    """
    INSERT INTO events (id, project_id, task_id, type, sequence, created_at, body, hard, test)
    SELECT replace(id, 'task', 'evt'), :project, id, 'task.' || :account, 1, coalesce(:past, :now), '{}', 1, 0 FROM tasks ORDER BY id
    """,
    """
    INSERT INTO deliveries (id, event_id, endpoint_id, project_id, task_id, event_type, status, attempts, due_at, created_at, updated_at)
    SELECT replace(id, 'task', 'dlv'), replace(id, 'task', 'evt'), 'ep_1', :project, id, :account,
           CASE WHEN finished_at IS NULL THEN 'pending' ELSE 'delivered' END, CASE WHEN status = 'queued' THEN 1 ELSE 0 END,
           CASE WHEN finished_at IS NULL THEN :past END, :now, :now
      FROM tasks
    """,
    """
    INSERT INTO lanes (kind, key, epoch, until, next_due_at)
    SELECT 'endpoint', replace(id, 'task', 'ep'), 0, 0, CASE WHEN finished_at IS NULL THEN :past END
      FROM tasks WHERE project_id = :project
    """,
    """
    INSERT INTO answers (id, project_id, route, asked_as, number, fingerprint, asked_at, least, most, status, task_id, keep_until)
    SELECT 'ans_' || n, :project, 'POST /v1/tasks', CASE WHEN n % 2 = 0 THEN 'sdk' ELSE 'key-' || n END, n, 'f', :now, 1, 1, 202,
           'task_f' || n, :now
      FROM generate_series(1, :finished) n
    """,
    """
    INSERT INTO bookings (project_id, task_id, version, slot, amount)
    SELECT CASE WHEN n <= 30 THEN :project ELSE 'prj_' || n % 18 + 2 END, 'task_f' || n, 1, 'open', '1' FROM generate_series(1, :finished) n
    """,
]

# Beside those that both engines are asked: what only this one plans otherwise than one thinks.
ASKED = {"project_id": PROJECT, "route": "POST /v1/tasks", "asked_as": "sdk", "number": 4, "task_id": "task_f4"}
TRIED = {**ASKED, "above": FINISHED - 200, "since": 0, "try": 2, "asked_at": 0}
WINDOW = {"after": "", "below": "zz", "batch": 20, "before": NOW, "settled_before": NOW}
MORE: dict[str, tuple[str, Mapping[str, object]]] = {
    "retention.TASKS": (retention.TASKS, WINDOW),
    "retention.ENDED": (retention.ENDED, WINDOW),
    "retention.ENDED_OF": (retention.ENDED_OF, {**WINDOW, "ids": IDS}),
    "retention.EVENTS": (retention.EVENTS, {**WINDOW, "after": -1}),
    "ends.LATEST": (ends.LATEST, {"since": 0, "most": 100}),
    "ends.OLDEST": (ends.OLDEST, {"most": 100}),
    "answers.FIND": (answers.FIND, ASKED),
    "answers.CANDIDATE": (answers.CANDIDATE, TRIED),
    "answers.NEXT_NUMBER": (answers.NEXT_NUMBER, ASKED),
    "erasing.CLEAR_ANSWERS": (erasing.CLEAR_ANSWERS, ASKED),
    "books.SUMS": (books.SUMS, {"id": PROJECT}),
    "books.WAITING": (books.WAITING, {"id": PROJECT}),
    "books.TAKE": (books.TAKE, {"id": PROJECT}),
    "books.UNBOOKED_OPEN": (books.UNBOOKED_OPEN, {"id": PROJECT, "after": "", "batch": 100}),
    "lanes.POLICY": (lanes.POLICY, {"project_id": PROJECT, "account": ACCOUNT, "most": 100}),
    "load.WAITING": (load.WAITING, {"now": NOW, "most": 100}),
    "load.OLDEST_DELIVERY": (load.OLDEST_DELIVERY, {"now": NOW, "most": 100}),
    "load.BREAKERS": (load.BREAKERS, {"most": 100}),
    "load.OPEN_TASKS": (load.OPEN_TASKS, {"account": ACCOUNT, "most": 100}),
}


async def fill(url: str) -> None:
    link = await asyncpg.connect(url)
    try:
        await link.execute("SET statement_timeout = 0; SET synchronous_commit = off")
        for text in FILL:
            for name, value in (
                ("project", PROJECT),
                ("account", ACCOUNT),
                ("past", PAST),
                ("now", NOW),
                ("finished", FINISHED),
            ):
                text = text.replace(f":{name}", f"'{value}'" if isinstance(value, str) else f"{value}::bigint")
            await link.execute(text)
        await link.execute("VACUUM ANALYZE")
    finally:
        await link.close()


@pytest.fixture(scope="module")
def filled(postgres_server: str) -> Iterator[str]:
    name = f"taskrelay_plans_{os.getpid()}"
    url = asyncio.run(database(postgres_server, name))
    asyncio.run(fill(url))
    yield url


@pytest.fixture
async def link(filled: str) -> AsyncIterator[Link]:
    opened: Link = await asyncpg.connect(filled)
    yield opened
    await opened.close()


def given(names: tuple[str, ...], params: Mapping[str, object]) -> list[object]:
    """What SQLite takes as JSON text is a list here."""
    found = []
    for name in names:
        value = params.get(name)
        listed = isinstance(value, str) and value.startswith("[")
        found.append(orjson.loads(value) if listed else value)  # type: ignore[arg-type]
    return found


def nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


async def explained(link: Link, text: str, params: Mapping[str, object], mode: str) -> list[Mapping[str, Any]]:
    translated, names = postgres(text)
    async with link.transaction():
        await link.execute(f"SET LOCAL plan_cache_mode = {mode}; SET LOCAL jit = off")
        types = [parameter.name for parameter in (await link.prepare(translated)).get_parameters()]
        await link.execute(
            f"PREPARE hot ({', '.join(types)}) AS {translated}" if types else f"PREPARE hot AS {translated}"
        )
        values = [
            await link.fetchval("SELECT quote_nullable($1::text)", spelled(value)) for value in given(names, params)
        ]
        execute = f"EXECUTE hot ({', '.join(values)})" if values else "EXECUTE hot"
        [(shown,)] = await link.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {execute}")
        await link.execute("DEALLOCATE hot")
        raise Undone([node for query in json.loads(shown) for node in nodes(query["Plan"])])


class Undone(Exception):
    """What was found, on the way out of a transaction that changes nothing."""

    def __init__(self, found: list[Mapping[str, Any]]) -> None:
        self.found = found


def spelled(value: object) -> str | None:
    if isinstance(value, list):
        return "{" + ",".join(value) + "}"
    return None if value is None else str(value)


def reads(node: Mapping[str, Any]) -> int:
    """Rows that a node looked at, those included that it threw away."""
    dropped = sum(node.get(name, 0) for name in ("Rows Removed by Filter", "Rows Removed by Index Recheck"))
    return int((node["Actual Rows"] + dropped) * node["Actual Loops"])


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize(
    ("text", "params"),
    [*((text, params) for text, params, _ in HOT.values()), *MORE.values()],
    ids=[*HOT, *MORE],
)
async def test_a_hot_query_reads_no_more_than_what_is_due(
    link: Link, text: str, params: Mapping[str, object], mode: str
) -> None:
    with pytest.raises(Undone) as undone:
        await explained(link, text, params, mode)
    found = undone.value.found
    assert [
        node["Relation Name"] for node in found if node["Node Type"] == "Seq Scan" and node["Relation Name"] in BIG
    ] == []
    most = {node.get("Relation Name", node["Node Type"]): reads(node) for node in found if reads(node) > SMALL}
    assert most == {}
    assert [node["Node Type"] for node in found if "Sort" in node["Node Type"] and node["Actual Rows"] > SMALL] == []


async def test_ids_are_locked_in_their_order(link: Link) -> None:
    text, params = tasks.BY_IDS, {"ids": IDS}
    for mode in ("force_generic_plan", "force_custom_plan"):
        with pytest.raises(Undone) as undone:
            await explained(link, text, params, mode)
        kinds = [node["Node Type"] for node in undone.value.found]
        assert kinds[0] == "LockRows", kinds  # above what sorts, and not below
        assert "Sort" in kinds[1] or undone.value.found[1].get("Index Name") == "tasks_pkey", kinds


async def test_lanes_are_locked_in_their_order_before_any_is_extended(link: Link) -> None:
    """An update takes them as it finds them, and arrivals of other replicas in the order of their names."""
    for mode in ("force_generic_plan", "force_custom_plan"):
        with pytest.raises(Undone) as undone:
            await explained(link, lanes.HEARTBEAT, {"owner": "a", "now": NOW, "ttl": 60}, mode)
        kinds = [node["Node Type"] for node in undone.value.found]
        assert "LockRows" in kinds, kinds
        below = undone.value.found[kinds.index("LockRows") + 1]
        assert below["Node Type"] == "Sort" or below.get("Index Name") == "lanes_pkey", below
