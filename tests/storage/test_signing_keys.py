"""One key of a project is in force, older ones expire to the microsecond, and two makers agree on one."""

from __future__ import annotations

import pytest

from storage import endpoints, signing_keys
from storage.database import Database
from storage.errors import Duplicate, Missing
from storage.records import SigningKey
from tests.storage.builders import NOW, PROJECT, SECOND, endpoint, plant, project


def key(id: str = "sgk_1", **more: object) -> SigningKey:
    row: dict[str, object] = {
        "id": id,
        "project_id": PROJECT,
        "public_key": f"whpk_{id}",
        "sealed": f"sealed {id}",
        "created_at": NOW,
    }
    return SigningKey(**{**row, **more})  # type: ignore[arg-type]


async def live(database: Database, now: int = NOW, project_id: str = PROJECT) -> list[SigningKey]:
    return await database.read(lambda tx: signing_keys.live(tx, project_id, now=now))


async def rotate(database: Database, fresh: SigningKey, overlap: int) -> list[str]:
    expires_at = fresh.created_at + overlap
    made = await database.write(lambda tx: signing_keys.rotate(tx, fresh, expires_at=expires_at, most=10))
    assert made == await live(database, fresh.created_at)
    return [one.id for one in made]


async def test_the_one_in_force_comes_first_and_an_expired_one_is_gone_to_the_microsecond(database: Database) -> None:
    await plant(database, project("prj_2"))
    assert await rotate(database, key(), 0) == ["sgk_1"]
    assert await rotate(database, key("sgk_0", created_at=NOW + 1), 5 * SECOND) == ["sgk_0", "sgk_1"]
    [newest, old] = await live(database, NOW + 5 * SECOND)
    assert (newest.expires_at, old.expires_at) == (None, NOW + 1 + 5 * SECOND)
    assert await live(database, NOW + 1 + 5 * SECOND) == [newest]
    assert await live(database, project_id="prj_2") == []


async def test_rotating_again_prolongs_nothing_and_without_overlap_the_old_one_is_forgotten(database: Database) -> None:
    await plant(database)
    await rotate(database, key("a"), 0)
    await rotate(database, key("b", created_at=NOW + 1), 5)
    await rotate(database, key("c", created_at=NOW + 2), 100)
    assert [one.expires_at for one in await live(database, NOW + 2)] == [None, NOW + 102, NOW + 6]
    assert await rotate(database, key("d", created_at=NOW + 200), 0) == ["d"]
    assert await database.read(lambda tx: tx.fetch("SELECT id FROM signing_keys")) == [("d",)]


async def test_a_rotation_without_overlap_ends_every_older_one(database: Database) -> None:
    await plant(database)
    await rotate(database, key("a"), 0)
    await rotate(database, key("b", created_at=NOW + 1), 1000)
    assert await rotate(database, key("c", created_at=NOW + 2), 0) == ["c"]


async def test_ten_old_ones_sign_at_most(database: Database) -> None:
    await plant(database)
    for n in range(15):
        found = await rotate(database, key(f"sgk_{n:02}", created_at=NOW + n), 1000)
    assert found == [f"sgk_{n:02}" for n in range(14, 3, -1)]


async def test_needing_a_key_makes_one_once(database: Database) -> None:
    await plant(database)
    for spare in (key("first"), key("second", created_at=NOW + 1)):
        await database.write(lambda tx, spare=spare: signing_keys.need(tx, spare))  # type: ignore[misc]
    assert [one.id for one in await live(database)] == ["first"]
    with pytest.raises(Duplicate):
        await database.write(lambda tx: signing_keys.insert(tx, key("third")))
    with pytest.raises(Missing):
        await database.write(lambda tx: signing_keys.insert(tx, key("x", project_id="prj_nowhere")))


async def test_the_endpoints_they_sign_for_are_those_that_asked(database: Database) -> None:
    asked = endpoint("ep_2", signatures="v1,v1a"), endpoint("ep_3", signatures="v1a")
    gone = endpoint("ep_4", signatures="v1a")
    await plant(database, endpoint("ep_1"), *asked, gone)
    await database.write(lambda tx: endpoints.delete(tx, "ep_4", PROJECT, now=NOW))
    assert await database.read(lambda tx: signing_keys.signed_endpoints(tx, PROJECT)) == ["ep_2", "ep_3"]
    found = await database.read(lambda tx: endpoints.get(tx, "ep_2", PROJECT))
    assert found is not None and found.signatures == "v1,v1a"
