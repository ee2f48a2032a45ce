from __future__ import annotations

from dataclasses import replace

import pytest

from storage import endpoint_secrets, seals
from storage.database import Database
from storage.errors import Duplicate, Missing
from storage.records import EndpointSecret
from tests.storage.builders import NOW, SECOND, endpoint, plant, secret


async def live(database: Database, now: int = NOW) -> list[EndpointSecret]:
    return await database.read(lambda tx: endpoint_secrets.live(tx, "ep_1", now=now))


async def rotate(database: Database, sealed: str, *, now: int, overlap: int) -> EndpointSecret:
    return await database.write(
        lambda tx: endpoint_secrets.rotate(tx, "ep_1", sealed, now=now, retires_at=now + overlap, most=10)
    )


async def test_the_newest_comes_first_and_a_retired_one_is_gone_to_the_microsecond(database: Database) -> None:
    await plant(database, endpoint())
    await database.write(lambda tx: endpoint_secrets.insert(tx, secret()))
    newest = await rotate(database, "second", now=NOW, overlap=5 * SECOND)
    assert newest == secret(2, sealed="second")
    old = replace(secret(), retires_at=NOW + 5 * SECOND)
    assert await live(database, NOW + 5 * SECOND - 1) == [newest, old]
    assert await live(database, NOW + 5 * SECOND) == [newest]


async def test_rotating_again_does_not_prolong_what_was_to_retire(database: Database) -> None:
    await plant(database, endpoint())
    await database.write(lambda tx: endpoint_secrets.insert(tx, secret()))
    await rotate(database, "second", now=NOW, overlap=5)
    await rotate(database, "third", now=NOW + 1, overlap=100)
    assert [one.retires_at for one in await live(database, NOW + 1)] == [None, NOW + 101, NOW + 5]


async def test_a_rotation_without_overlap_ends_every_older_one(database: Database) -> None:
    await plant(database, endpoint())
    await database.write(lambda tx: endpoint_secrets.insert(tx, secret()))
    await rotate(database, "second", now=NOW, overlap=1000)
    await rotate(database, "third", now=NOW + 1, overlap=0)
    assert [one.sealed for one in await live(database, NOW + 1)] == ["third"]


async def test_ten_old_ones_are_kept_at_most_and_the_retired_are_forgotten(database: Database) -> None:
    await plant(database, endpoint())
    await database.write(lambda tx: endpoint_secrets.insert(tx, secret()))
    for n in range(2, 15):
        await rotate(database, f"sealed {n}", now=NOW + n, overlap=1000)
    assert [one.number for one in await live(database, NOW + 20)] == list(range(14, 3, -1))
    await rotate(database, "last", now=NOW + 5000, overlap=0)
    count = "SELECT count(*) FROM endpoint_secrets"
    assert await database.read(lambda tx: tx.fetch(count)) == [(1,)]
    assert [one.sealed for one in await live(database, NOW + 5000)] == ["last"]


async def test_a_secret_needs_its_endpoint_and_a_number_of_its_own(database: Database) -> None:
    with pytest.raises(Missing):
        await database.write(lambda tx: endpoint_secrets.insert(tx, secret()))
    await plant(database, endpoint())
    await database.write(lambda tx: endpoint_secrets.insert(tx, secret()))
    with pytest.raises(Duplicate):
        await database.write(lambda tx: endpoint_secrets.insert(tx, secret()))


async def test_the_keys_that_sealed_secrets_and_headers_are_known(database: Database) -> None:
    await plant(database, endpoint(headers="k1.bbbbbbbb.x"))
    await database.write(lambda tx: endpoint_secrets.insert(tx, secret(sealed="k1.aaaaaaaa.x")))
    assert (await database.read(seals.use)).keys() == {"k1.aaaaaaaa", "k1.bbbbbbbb", "sealed"}
