"""Pages by the last id, in both orders, of one project; what was erased or speaks another format is not there."""

from __future__ import annotations

from storage import endpoint_secrets, openai_pages
from storage.database import Database
from storage.records import EndpointFormat, EndpointSecret
from tests.storage.builders import NOW, PROJECT, endpoint, plant, project, task


async def ids(database: Database, after: str | None = None, *, oldest_first: bool = False) -> list[str]:
    found = await database.read(
        lambda tx: openai_pages.tasks_page(tx, PROJECT, after=after, limit=2, oldest_first=oldest_first)
    )
    return [one.id for one in found]


async def test_tasks_in_either_order(database: Database) -> None:
    foreign = task("task_9", project_id="prj_2")
    await plant(
        database, project("prj_2"), *(task(f"task_{n}") for n in range(4)), task("task_5", erased_at=NOW), foreign
    )
    assert [await ids(database), await ids(database, "task_2")] == [["task_3", "task_2"], ["task_1", "task_0"]]
    assert await ids(database, oldest_first=True) == ["task_0", "task_1"]
    assert await ids(database, "task_1", oldest_first=True) == ["task_2", "task_3"]
    assert await ids(database, "task_3", oldest_first=True) == []


async def test_endpoints_of_the_format_with_the_secret_in_force(database: Database) -> None:
    mine = [endpoint(f"ep_{n}", format=EndpointFormat.OPENAI) for n in range(3)]
    foreign = endpoint("ep_9", project_id="prj_2", format=EndpointFormat.OPENAI)
    await plant(database, project("prj_2"), *mine, endpoint("ep_5"), foreign)
    for number, retires_at in ((1, NOW), (2, None)):
        secret = EndpointSecret(
            endpoint_id="ep_1", number=number, sealed=f"sealed {number}", created_at=NOW, retires_at=retires_at
        )
        await database.write(lambda tx, secret=secret: endpoint_secrets.insert(tx, secret))  # type: ignore[misc]
    found = await database.read(lambda tx: openai_pages.endpoints_page(tx, PROJECT, after=None, limit=2))
    assert [(one.id, sealed) for one, sealed in found] == [("ep_2", None), ("ep_1", "sealed 2")]
    rest = await database.read(lambda tx: openai_pages.endpoints_page(tx, PROJECT, after="ep_1", limit=2))
    assert [one.id for one, _ in rest] == ["ep_0"]
    assert await database.read(lambda tx: openai_pages.endpoints_page(tx, PROJECT, after="ep_0", limit=2)) == []
