"""Whatever is sealed is counted, found in bounded batches, and replaced only where it still stands."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from storage import answers, endpoint_secrets, project_secrets, seals, signing_keys
from storage.database import Connection, Database
from storage.seals import Column, Sealed
from tests.storage.builders import endpoint, plant, project, secret
from tests.storage.test_answers import PLACE
from tests.storage.test_signing_keys import key

OLD, NEW = "k1.aaaaaaaa.x", "k1.bbbbbbbb.x"
SCHEMA = Path(__file__).parents[2] / "storage/migrations/0001_first.sql"


async def filled(database: Database, count: int = 3) -> None:
    """So many of each kind, all sealed with the old key."""

    async def unit(tx: Connection) -> None:
        for n in range(count):
            await endpoint_secrets.insert(tx, secret(1, f"ep_{n}", sealed=OLD))
            await endpoint_secrets.insert(tx, secret(2, f"ep_{n}", sealed=OLD))
            await project_secrets.rotate(tx, f"prj_{n}x", OLD, now=1, retires_at=9, most=10)
            await signing_keys.insert(tx, key(f"sgk_{n}", project_id=f"prj_{n}x", sealed=OLD))
            place = replace(PLACE, id=f"ans_{n}", asked_as=f"{n}", status=201)
            assert await answers.claim(tx, place)
            await answers.keep(tx, replace(place, sealed=OLD) if n else replace(place, body=b"{}"))

    await plant(database, *(project(f"prj_{n}x", secret=OLD) for n in range(count)))
    await plant(database, *(endpoint(f"ep_{n}", headers=OLD if n else None) for n in range(count)))
    await database.write(unit)


async def found(database: Database, column: Column, after: Sealed = seals.START, batch: int = 2) -> list[Sealed]:
    newest = NEW[:11]
    return await database.read(lambda tx: seals.stale(tx, column, newest=newest, after=after, batch=batch))


async def test_each_key_is_told_with_how_much_it_sealed(database: Database) -> None:
    await filled(database)
    assert await database.read(seals.use) == {"k1.aaaaaaaa": 3 + 3 + 6 + 2 + 3 + 2, "sealed": 1}


async def test_every_column_is_gone_through_in_batches_and_left_alone_once_it_is_new(database: Database) -> None:
    await filled(database)
    for column, many in zip(seals.COLUMNS, (4, 3, 6, 2, 3, 2), strict=True):
        seen: list[Sealed] = []
        while batch := await found(database, column, seen[-1] if seen else seals.START, batch=3):
            assert len(batch) <= 3  # a boundary falls between the two secrets of an endpoint
            seen += batch
        assert len({(one.id, one.number) for one in seen}) == len(seen) == many, column.name
        pairs = [(one, NEW) for one in seen]
        assert await database.write(lambda tx, c=column, p=pairs: seals.replace(tx, c, p)) == many  # type: ignore[misc]
        assert await found(database, column) == []
    assert await database.read(seals.use) == {"k1.bbbbbbbb": 20}


async def test_what_somebody_changed_meanwhile_stays_as_he_left_it(database: Database) -> None:
    await filled(database)
    for column in seals.COLUMNS:
        [first, second] = await found(database, column)
        await database.write(lambda tx, c=column, f=first: seals.replace(tx, c, [(f, "k1.bbbbbbbb.theirs")]))  # type: ignore[misc]
        late = [(first, "k1.bbbbbbbb.ours"), (second, NEW)]
        assert await database.write(lambda tx, c=column, p=late: seals.replace(tx, c, p)) == 1  # type: ignore[misc]
    assert (await database.read(seals.use))["k1.bbbbbbbb"] == 12


def test_every_column_that_the_schema_calls_sealed_is_known() -> None:
    table, sealed = "", set[str]()
    for line in SCHEMA.read_text(encoding="utf-8").splitlines():
        if made := re.match(r"CREATE TABLE (\w+)", line):
            table = made[1]
        name, _, remark = line.strip().partition(" ")
        if name == "sealed" or "-- sealed" in remark:
            sealed.add(f"{table}.{name}")
    assert sealed == {column.name for column in seals.COLUMNS}
    assert all(f"FROM {name.split('.')[0]}" in seals.USE for name in sealed)
