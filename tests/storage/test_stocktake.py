"""What is counted is what is stored, page by page and project by project."""

from __future__ import annotations

from storage import callbacks, outbox, stocktake, submissions
from storage.callbacks import Orphan
from storage.database import Connection, Database
from storage.records import DeliveryStatus, SubmissionStatus, Surplus
from storage.stocktake import Counted, Named, Owed, Told
from tests.storage.builders import NOW, PROJECT, delivery, endpoint, event, finished, plant, project, submission, task


async def test_events_come_by_their_place_with_what_decides_of_their_tasks(database: Database) -> None:
    await plant(database, finished("task_1", metadata='{"a":"b"}', webhook_endpoint_id="ep_h", webhook_events="*"))

    async def unit(tx: Connection) -> None:
        made = [
            event("evt_1", task_id="task_1"),
            event("evt_2", task_id=None, provider=None, model=None, type="endpoint.failing", body=b"told"),
            event("evt_3", task_id="task_gone"),
            event("evt_4", task_id=None, test=True),
            event("evt_5", task_id="task_other", project_id="prj_2"),
        ]
        await outbox.publish(tx, made, [])

    await database.write(unit)
    found = await database.read(lambda tx: stocktake.told(tx, PROJECT, after=0, batch=9))
    head = ("cloudsway", "kling-3.0-turbo", NOW)
    first, second, third = (one.position for one in found)
    assert first < second < third
    assert found == [
        Told(first, "evt_1", "task.succeeded", "task_1", *head, None, True, '{"a":"b"}', "ep_h", "*"),
        Told(second, "evt_2", "endpoint.failing", None, None, None, NOW, b"told", False, None, None, None),
        Told(third, "evt_3", "task.succeeded", "task_gone", *head, None, False, None, None, None),
    ]
    assert [one.id for one in await database.read(lambda tx: stocktake.told(tx, PROJECT, after=first, batch=1))] == [
        "evt_2"
    ]


async def test_what_is_owed_comes_with_how_its_endpoint_stands(database: Database) -> None:
    await plant(database, endpoint("ep_1"), endpoint("ep_2"))

    async def unit(tx: Connection) -> None:
        owed = [
            delivery("dlv_1"),
            delivery("dlv_2", endpoint_id="ep_2", status=DeliveryStatus.DELIVERED, due_at=None),
            delivery("dlv_3", endpoint_id="ep_none"),
            delivery("dlv_4", event_id="evt_2"),
        ]
        await outbox.publish(tx, [event()], owed)
        await tx.fetch("UPDATE endpoints SET deleted_at = 1 WHERE id = 'ep_2'")

    await database.write(unit)
    found = await database.read(lambda tx: stocktake.owed(tx, ["evt_1"]))
    assert sorted(found, key=lambda one: one.id) == [
        Owed("evt_1", "ep_1", "dlv_1", "pending", NOW, "active"),
        Owed("evt_1", "ep_2", "dlv_2", "delivered", None, "deleted"),
        Owed("evt_1", "ep_none", "dlv_3", "pending", NOW, None),
    ]


async def test_tasks_come_with_their_ends_and_the_jobs_that_were_named(database: Database) -> None:
    bill = (Surplus(provider_task_id="job-2", account="spare", found_at=NOW),)
    await plant(database, project("prj_2"), task("task_2", project_id="prj_2"))
    await plant(database, finished("task_1", provider_task_id="job-1", surplus=bill), task("task_3"))

    async def unit(tx: Connection) -> None:
        made = [submission("sub_1", "task_1"), submission("sub_2", "task_1", number=2)]
        await submissions.insert(tx, made)
        await submissions.settle(tx, "sub_1", SubmissionStatus.ACCEPTED, now=NOW, provider_task_id="job-1", detail=None)
        told = [
            event("evt_2", task_id="task_1", sequence=2),
            event("evt_1", task_id="task_1", type="task.expired"),
            event("evt_3", task_id="task_1", sequence=3, type="task.conflict"),
        ]
        await outbox.publish(tx, told, [])

    await database.write(unit)
    found = await database.read(lambda tx: stocktake.tasks(tx, PROJECT, after="", batch=9))
    assert [one.id for one in found] == ["task_1", "task_3"]
    assert (
        found[0] == Counted("task_1", "succeeded", "cloudsway", "job-1", found[0].surplus, NOW, NOW, None, NOW)
        and '"job-2"' in found[0].surplus
    )
    assert [
        one.id for one in await database.read(lambda tx: stocktake.tasks(tx, PROJECT, after="task_1", batch=9))
    ] == ["task_3"]
    ids = ["task_1", "task_3"]
    assert await database.read(lambda tx: stocktake.ends(tx, ids)) == {"task_1": ["task.expired", "task.succeeded"]}
    assert await database.read(lambda tx: stocktake.named(tx, ids)) == [Named("task_1", "sub_1", "cloudsway", "job-1")]


async def test_pushes_nobody_owns_come_oldest_first(database: Database) -> None:
    async def unit(tx: Connection) -> None:
        for number in (2, 1, 3):
            row = Orphan(
                id=f"cbk_{number}", provider="p", submission_id=f"sub_{number}", raw=b"r", received_at=NOW + number
            )
            await callbacks.keep_orphan(tx, row, b"d", limit=9)

    await database.write(unit)
    found = await database.read(lambda tx: stocktake.unowned(tx, after="cbk_1", since=NOW, batch=1))
    assert [(one.id, one.raw) for one in found] == [("cbk_2", b"r")]
    assert [
        one.id for one in await database.read(lambda tx: stocktake.unowned(tx, after="", since=NOW + 3, batch=9))
    ] == ["cbk_3"]


async def test_equal_standings_in_the_books_are_counted(database: Database) -> None:
    rows = [task("task_1", booked="a"), finished("task_2", booked="a"), task("task_3", booked="b"), task("task_4")]
    await plant(database, *rows, project("prj_2"), task("task_5", project_id="prj_2", booked="a"))
    assert sorted(await database.read(lambda tx: stocktake.booked(tx, PROJECT))) == [("a", 2), ("b", 1)]
