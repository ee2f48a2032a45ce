from __future__ import annotations

from dataclasses import replace

from storage import changes, outbox, projects, tasks
from storage.database import Connection, Database
from tests.storage.builders import PROJECT, event, project, task


async def test_a_change_of_a_task_and_an_event_of_a_project_show(database: Database) -> None:
    async def look() -> dict[str, int]:
        return await database.read(lambda tx: changes.versions(tx, ["task_1", PROJECT, "task_none", "prj_other"]))

    async def furnish(tx: Connection) -> None:
        await projects.insert(tx, project())
        await projects.insert(tx, project("prj_other", name="other"))
        await tasks.insert(tx, task())

    await database.write(furnish)
    first = await look()
    assert first.keys() == {"task_1"}  # the others have no news, or are not there
    known = await database.read(lambda tx: tasks.get(tx, "task_1", PROJECT))
    assert known is not None
    await database.write(lambda tx: tasks.save(tx, [(replace(known, progress=7, version=known.version + 1), known)]))
    second = await look()
    assert second["task_1"] != first["task_1"]
    await database.write(lambda tx: outbox.publish(tx, [event()], []))
    third = await look()
    assert third["task_1"] == second["task_1"] and third.keys() == {"task_1", PROJECT}
