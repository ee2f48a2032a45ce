from __future__ import annotations

from storage import project_secrets
from storage.database import Database
from tests.storage.builders import NOW, PROJECT, plant, project


async def live(database: Database, now: int, project_id: str = PROJECT) -> list[tuple[str, int | None]]:
    found = await database.read(lambda tx: project_secrets.live(tx, project_id, now=now))
    return [(one.sealed, one.retires_at) for one in found]


async def rotate(database: Database, sealed: str, now: int, overlap: int, most: int = 10) -> bool:
    return await database.write(
        lambda tx: project_secrets.rotate(tx, PROJECT, sealed, now=now, retires_at=now + overlap, most=most)
    )


async def test_the_first_one_signs_alone(database: Database) -> None:
    await plant(database, project("prj_2", secret="theirs"))
    assert await live(database, NOW) == [("sealed", None)]
    assert await live(database, NOW, "prj_9") == []


async def test_a_replaced_one_signs_beside_the_new_one_until_it_retires(database: Database) -> None:
    await plant(database, project("prj_2", secret="theirs"))
    assert await rotate(database, "second", NOW, 10)
    assert await rotate(database, "third", NOW + 5, 10)
    assert await live(database, NOW + 9) == [("third", None), ("second", NOW + 15), ("sealed", NOW + 10)]
    assert await live(database, NOW + 10) == [("third", None), ("second", NOW + 15)]
    assert await live(database, NOW + 15) == [("third", None)]
    assert await live(database, NOW, "prj_2") == [("theirs", None)]


async def test_one_without_overlap_signs_nothing_more(database: Database) -> None:
    await plant(database)
    assert await rotate(database, "second", NOW, 0)
    assert await live(database, NOW) == [("second", None)]


async def test_one_without_overlap_ends_what_earlier_rotations_left_as_well(database: Database) -> None:
    await plant(database, project("prj_2", secret="theirs"))
    assert await rotate(database, "second", NOW, 100)
    assert await rotate(database, "third", NOW + 1, 100)
    assert await rotate(database, "fourth", NOW + 2, 0)
    assert await live(database, NOW + 2) == [("fourth", None)]
    assert await live(database, NOW + 2, "prj_2") == [("theirs", None)]


async def test_only_so_many_old_ones_are_kept_and_retired_ones_go(database: Database) -> None:
    await plant(database)
    for n in range(5):
        assert await rotate(database, f"new {n}", NOW + n, 100, most=2)
    assert await live(database, NOW + 9) == [("new 4", None), ("new 3", NOW + 104), ("new 2", NOW + 103)]
    assert await rotate(database, "last", NOW + 1000, 1, most=2)
    assert await database.read(lambda tx: tx.fetch("SELECT sealed FROM project_secrets")) == [("new 4",)]


async def test_a_project_that_is_not_there_gets_none(database: Database) -> None:
    assert not await rotate(database, "second", NOW, 10)
