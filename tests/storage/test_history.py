from __future__ import annotations

from storage import callbacks, history, outbox, projects, tasks
from storage.database import Connection, Database
from storage.history import Life
from storage.records import Event, ObservationRow, Task, TimelineEntry
from tests.storage.builders import NOW, project, push, task

PAGE = 2


def observation(of: str, version: int | None, id: str) -> ObservationRow:
    return push(id, task_id=of, digest=None, raw=b"bytes", version=version, context="{}" if version else None)


def event(of: str, sequence: int) -> Event:
    return Event(
        id=f"evt_{of}_{sequence}",
        project_id="prj_1",
        task_id=of,
        provider="cloudsway",
        model="kling-3.0-turbo",
        type="task.succeeded",
        sequence=sequence,
        created_at=NOW,
        body=b'{"a":1}',
        hard=sequence == 2,
    )


def noted(of: str, version: int, ordinal: int = 0) -> TimelineEntry:
    return TimelineEntry(
        task_id=of, version=version, ordinal=ordinal, at=NOW, kind=f"k{version}{ordinal}", source="poll", detail="{}"
    )


async def filled(database: Database) -> list[Task]:
    made = [task(f"task_{n}") for n in (3, 1, 2)]

    async def unit(tx: Connection) -> None:
        await projects.insert(tx, project())
        for one in made:
            await tasks.insert(tx, one)
        await callbacks.insert(
            tx,
            [
                observation("task_1", 7, "obs_1"),
                observation("task_1", 3, "obs_2"),
                observation("task_2", None, "obs_3"),
            ],
        )
        await callbacks.insert_pushes(tx, [push("obs_4", task_id="task_1", version=5, context='{"a":1}')])
        await outbox.publish(tx, [event("task_1", 2), event("task_1", 1)], [])
        await callbacks.note(tx, [noted("task_1", 3, 1), noted("task_1", 3), noted("task_1", 0)])

    await database.write(unit)
    return sorted(made, key=lambda one: one.id)


async def pages(database: Database) -> list[Life]:
    found: list[Life] = []
    while page := await database.read(
        lambda tx: history.page(tx, after=found[-1].task.id if found else "", batch=PAGE)  # noqa: B023
    ):
        found += page
        assert len(page) <= PAGE
    return found


async def test_every_task_comes_once_in_the_order_of_the_ids(database: Database) -> None:
    made = await filled(database)
    assert [one.task for one in await pages(database)] == made


async def test_a_task_comes_with_what_changed_it_in_order_and_without_the_bytes(database: Database) -> None:
    await filled(database)
    first, second, third = await pages(database)
    assert [(row.version, row.id, row.context, row.raw) for row in first.history] == [
        (3, "obs_2", "{}", None), (5, "obs_4", '{"a":1}', None), (7, "obs_1", "{}", None),
    ]  # fmt: skip
    assert (second.history, third.history) == ((), ()), "what changed nothing is no history"


async def test_a_task_comes_with_its_events_and_the_kinds_of_its_timeline(database: Database) -> None:
    await filled(database)
    first, second, _ = await pages(database)
    assert [(one.sequence, one.body, one.hard) for one in first.events] == [
        (1, b'{"a":1}', False),
        (2, b'{"a":1}', True),
    ]
    assert list(first.notes) == [(0, "k00"), (3, "k30"), (3, "k31")]
    assert (second.events, second.notes) == ((), ())


async def test_a_push_is_given_another_place_or_rung_no_more(database: Database) -> None:
    kept = push("obs_1", version=4, context="{}", verified_at=None)
    other = push("obs_1", task_id="task_2", submission_id="sub_2")
    await database.write(lambda tx: callbacks.insert_pushes(tx, [kept, other]))
    changed = push("obs_1", version=None, context=None, verified_at=NOW)
    await database.write(lambda tx: callbacks.renumber(tx, [changed]))
    assert await database.read(lambda tx: callbacks.of_task(tx, "task_1")) == [changed]
    assert await database.read(lambda tx: callbacks.of_task(tx, "task_2")) == [other]
