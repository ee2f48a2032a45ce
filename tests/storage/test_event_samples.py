from __future__ import annotations

import pytest

from storage import event_samples, outbox
from storage.database import Database
from tests.storage.builders import PROJECT, event


async def bodies(database: Database, type: str = "task.failed", limit: int = 9) -> list[bytes]:
    return await database.read(lambda tx: event_samples.newest(tx, PROJECT, type, limit=limit))


async def test_the_newest_of_a_type_come_first_and_nobody_elses(database: Database) -> None:
    made = [
        event("evt_1", type="task.failed", body=b"1"),
        event("evt_2", type="task.failed", body=b"2", sequence=2),
        event("evt_3", type="task.succeeded", body=b"3", sequence=3),
        event("evt_4", type="task.failed", body=b"4", task_id=None, test=True),
        event("evt_5", type="task.failed", body=b"5", project_id="prj_2", task_id="task_9"),
    ]
    await database.write(lambda tx: outbox.publish(tx, made, []))
    assert await bodies(database) == [b"2", b"1"]
    assert await bodies(database, limit=1) == [b"2"]
    assert await bodies(database, "task.canceled") == []


async def test_a_rare_type_is_looked_for_among_the_newest_only(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_samples, "LOOK", 2)
    made = [event(f"evt_{n}", type="task.failed" if n < 2 else "task.succeeded", sequence=n) for n in range(3)]
    await database.write(lambda tx: outbox.publish(tx, made, []))
    assert len(await bodies(database)) == 1
