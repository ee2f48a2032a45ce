from __future__ import annotations

import itertools
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from storage import feed, outbox
from storage.database import Connection, Database
from storage.feed import EventFilter, Stretch
from tests.storage.builders import NOW, PROJECT, event, plant

NUMBERS = itertools.count(100)
OTHER = "prj_2"
MADE = [
    event("evt_c", task_id="task_1", type="task.submitted", sequence=1),
    event("evt_a", task_id="task_1", sequence=2, created_at=NOW + 5),
    event("evt_x", project_id=OTHER, task_id="task_9"),
    event("evt_b", task_id="task_2", created_at=NOW + 9),
    event("evt_t", task_id="task_3", test=True),
]


async def read(database: Database, *, after: int = 0, limit: int = 10, **wanted: object) -> list[str]:
    wish = EventFilter(**wanted)  # type: ignore[arg-type]
    found = await database.read(lambda tx: feed.page(tx, PROJECT, wish, after=after, limit=limit))
    return [one.id for one in found.events]


async def newest_first(
    database: Database, *, before: int | None = None, limit: int = 10, **wanted: object
) -> list[str]:
    wish = EventFilter(**wanted)  # type: ignore[arg-type]
    found = await database.read(lambda tx: feed.newest_first(tx, PROJECT, wish, before=before, limit=limit))
    return [one.id for one in found]


@pytest.fixture
async def told(database: Database) -> Database:
    await database.write(lambda tx: outbox.publish(tx, MADE, []))
    return database


@pytest.fixture
async def at(told: Database) -> dict[str, int]:
    """Where each event stands: an engine's own choice, but for the order."""
    found: list[Any] = await told.read(lambda tx: tx.fetch("SELECT id, position FROM events ORDER BY position"))
    assert [id for id, _ in found] == [one.id for one in MADE]
    return dict(found)


async def test_events_are_read_oldest_first_by_position_and_not_by_id(told: Database, at: dict[str, int]) -> None:
    assert await read(told) == ["evt_c", "evt_a", "evt_b"]
    assert await read(told, after=at["evt_c"]) == ["evt_a", "evt_b"]
    assert await read(told, limit=2) == ["evt_c", "evt_a"]
    assert await read(told, after=at["evt_b"]) == []


async def test_each_filter_narrows_and_all_of_them_hold_together(told: Database, at: dict[str, int]) -> None:
    assert await read(told, types=("task.submitted",)) == ["evt_c"]
    assert await read(told, types=("task.submitted", "task.succeeded")) == ["evt_c", "evt_a", "evt_b"]
    assert await read(told, task="task_1") == ["evt_c", "evt_a"]
    assert await read(told, task="task_1", types=("task.succeeded",), after=at["evt_c"]) == ["evt_a"]
    assert await read(told, created_after=NOW) == ["evt_a", "evt_b"]
    assert await read(told, created_after=NOW + 5, task="task_1") == []
    assert await read(told, task="task_9") == []


async def test_the_newest_are_read_backwards(told: Database, at: dict[str, int]) -> None:
    assert await newest_first(told, limit=2) == ["evt_b", "evt_a"]
    assert await newest_first(told, before=at["evt_a"]) == ["evt_c"]
    assert await newest_first(told, task="task_1", limit=1) == ["evt_a"]
    assert await newest_first(told, task="task_1", before=at["evt_a"]) == ["evt_c"]
    assert await newest_first(told, types=("task.submitted",), created_after=NOW) == []


async def test_a_stretch_ends_where_it_was_read_to_although_nothing_in_it_was_wanted(
    told: Database, at: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ahead(after: int, limit: int = 10, **wanted: object) -> Stretch:
        wish = EventFilter(**wanted)  # type: ignore[arg-type]
        return await told.read(lambda tx: feed.ahead(tx, PROJECT, wish, after=after, limit=limit))

    end, beyond = at["evt_t"], at["evt_t"] + 4
    none = await ahead(0, types=("task.failed",))
    assert (none.events, none.end, none.more) == ((), end, False)
    assert (await ahead(end)).end == end and (await ahead(beyond)).end == beyond  # never backwards
    cut = await ahead(0, limit=1)
    assert (cut.end, cut.more) == (at["evt_c"], True)
    of_task = await ahead(0, task="task_1")
    assert (of_task.end, of_task.more) == (end, False)
    ends = (await ahead(0, limit=1, task="task_1")).end, (await ahead(beyond, task="task_1")).end
    assert ends == (at["evt_c"], beyond)
    monkeypatch.setattr(feed, "SCAN", 2)
    few = await ahead(0, types=("task.failed",))
    assert (few.events, few.end, few.more) == ((), at["evt_a"], True)
    assert await read(told, types=("task.succeeded",)) == ["evt_a", "evt_b"]  # a page goes on through every stretch


async def test_one_event_is_its_projects_alone(told: Database, at: dict[str, int]) -> None:
    assert await told.read(lambda tx: feed.one(tx, "evt_x", PROJECT)) is None
    assert await told.read(lambda tx: feed.one(tx, "evt_b", PROJECT)) == replace(MADE[3], position=at["evt_b"])


async def test_the_bounds_are_the_projects_own_but_for_how_far_positions_got_at_all(database: Database) -> None:
    async def bounds() -> tuple[int, int, int]:
        found = await database.read(lambda tx: feed.bounds(tx, PROJECT))
        return found.forgotten, found.newest, found.last

    assert await bounds() == (0, 0, 0)
    await plant(database)
    await database.write(lambda tx: outbox.publish(tx, MADE[:3], []))
    rows: list[Any] = await database.read(lambda tx: tx.fetch("SELECT position FROM events ORDER BY position"))
    [_, (mine,), (others,)] = rows
    assert await bounds() == (0, mine, others)

    async def forget(tx: Connection) -> None:
        await tx.fetch("DELETE FROM events")
        await tx.fetch("UPDATE projects SET forgotten = :mine WHERE id = :id", {"id": PROJECT, "mine": mine})

    await database.write(forget)
    assert await bounds() == (mine, mine, mine)  # who stands at the end of what is gone has missed nothing


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    instants=st.lists(st.tuples(st.integers(0, 600), st.integers(0, 59)), max_size=30),
    at=st.integers(min_value=-10, max_value=620),
)
@example(instants=[(10, 0), (10, 5)], at=7)  # the later one by position is the older one by its instant
async def test_behind_the_place_of_an_instant_lies_every_later_event(
    database: Database, instants: list[tuple[int, int]], at: int
) -> None:
    """Commits are in the order of their instants to within the slack: each is of its second or up to 59 s older."""
    instants.sort(key=lambda pair: pair[0])
    mine = f"prj_{next(NUMBERS)}"
    made = [
        event(f"{mine}_{n}", task_id=f"{mine}_{n}", project_id=mine, created_at=NOW + (second - older) * 1_000_000)
        for n, (second, older) in enumerate(instants)
    ]
    instant = NOW + at * 1_000_000
    await database.write(lambda tx: outbox.publish(tx, made, []))
    place = await database.read(lambda tx: feed.place_of(tx, mine, instant))
    told = await database.read(lambda tx: feed.page(tx, mine, EventFilter(), after=place, limit=100))
    ids = {one.id for one in told.events}
    assert ids >= {one.id for one in made if one.created_at > instant}
    assert len(ids) <= sum(second > at - 60 for second, _ in instants)


PLANS = {
    "STRETCH": (feed.STRETCH, "COVERING INDEX events_by_project (project_id=? AND position>?)"),
    "EVENTS": (feed.EVENTS, "events_by_project (project_id=? AND position>? AND position<?)"),
    "EVENTS_NEWEST": (feed.EVENTS_NEWEST, "events_by_project (project_id=? AND position<?)"),
    "EVENTS_OF_TASK": (feed.EVENTS_OF_TASK, "events_by_task (task_id=?)"),
    "BOUNDS": (feed.BOUNDS, "COVERING INDEX events_by_project (project_id=?)"),
    "NEWEST": (feed.NEWEST, "COVERING INDEX events_by_project (project_id=?)"),
    "NEXT": (feed.NEXT, "events_by_project (project_id=? AND position>?)"),
}
FEW = ("SCAN ahead", "SCAN CONSTANT ROW")
PARAMS = ("project_id", "after", "before", "until", "created_after", "every", "types", "task", "scan", "batch")


@pytest.mark.parametrize(("text", "index"), PLANS.values(), ids=PLANS)
async def test_a_stretch_is_one_range_of_one_index(sqlite_file: Path, text: str, index: str) -> None:
    """Of an empty database, whose planner knows no more than one that was never analysed."""
    raw = sqlite3.connect(sqlite_file)
    try:
        plan = [
            row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {text}", {**dict.fromkeys(PARAMS, "x"), "types": "[]"})
        ]
    finally:
        raw.close()
    assert any(index in line for line in plan), plan
    assert not any(line.startswith("SCAN") and "json_each" not in line and line not in FEW for line in plan), plan
