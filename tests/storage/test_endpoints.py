from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from storage import endpoint_secrets, endpoints
from storage.database import Connection, Database
from storage.errors import Missing
from storage.records import Endpoint, EndpointStatus
from tests.storage.builders import NOW, PROJECT, endpoint, plant, project, secret
from tests.storage.strategies import ON_ONE_DATABASE, rows

example = iter(range(1_000_000))


async def get(database: Database, id: str = "ep_1", project_id: str = PROJECT) -> Endpoint | None:
    return await database.read(lambda tx: endpoints.get(tx, id, project_id))


async def delete(database: Database, id: str = "ep_1", project_id: str = PROJECT) -> bool:
    return await database.write(lambda tx: endpoints.delete(tx, id, project_id, now=NOW + 5))


@ON_ONE_DATABASE
@given(row=rows(Endpoint))
async def test_every_field_survives(database: Database, row: Endpoint) -> None:
    row = replace(row, id=f"ep_{next(example)}", project_id=PROJECT, url=f"{next(example)}{row.url}")
    await plant(database, row)
    assert await database.read(lambda tx: endpoints.by_id(tx, row.id)) == row


async def test_a_project_sees_its_own_endpoints_that_are_not_hidden(database: Database) -> None:
    await plant(database, project("prj_2"), endpoint("ep_1"), endpoint("ep_2", hidden=True))
    assert await get(database) == endpoint()
    assert await get(database, "ep_2") is None
    assert await get(database, "ep_1", "prj_2") is None
    assert await database.read(lambda tx: endpoints.by_id(tx, "ep_2")) == endpoint("ep_2", hidden=True)


async def test_an_endpoint_needs_its_project(database: Database) -> None:
    with pytest.raises(Missing):
        await database.write(lambda tx: endpoints.insert(tx, endpoint(project_id="prj_none")))


async def test_one_hidden_endpoint_carries_an_origin_of_a_project(database: Database) -> None:
    origin = "https://app.test"
    first = endpoint("ep_1", hidden=True, url=origin)
    await plant(database, first, project("prj_2"))
    await plant(database, endpoint("ep_2", hidden=True, url=origin), endpoint("ep_3", url=origin))
    elsewhere = endpoint("ep_4", hidden=True, url=origin, project_id="prj_2")
    await plant(database, elsewhere)
    assert await database.read(lambda tx: endpoints.hidden(tx, PROJECT, origin)) == first
    assert await database.read(lambda tx: endpoints.hidden(tx, "prj_2", origin)) == elsewhere
    assert await database.read(lambda tx: endpoints.hidden(tx, PROJECT, "https://other.test")) is None
    assert await database.read(lambda tx: endpoints.by_id(tx, "ep_2")) is None


async def test_paused_endpoints_are_owed_events_and_disabled_hidden_and_deleted_are_not(database: Database) -> None:
    await plant(database, project("prj_2"), project("prj_3"))
    wanted = [endpoint("ep_1"), endpoint("ep_2", status=EndpointStatus.PAUSED), endpoint("ep_3", project_id="prj_2")]
    await plant(
        database,
        *reversed(wanted),
        endpoint("ep_4", status=EndpointStatus.DISABLED),
        endpoint("ep_5", hidden=True),
        endpoint("ep_6"),
        endpoint("ep_7", project_id="prj_3"),
    )
    assert await delete(database, "ep_6")
    lasting = endpoint("ep_8", expires_at=NOW + 1, events="task.*", filter='{"model":["a"]}')
    await plant(database, endpoint("ep_9", expires_at=NOW), lasting)
    found = await database.read(lambda tx: endpoints.wanting(tx, ["prj_2", PROJECT, PROJECT], now=NOW))
    assert found == [
        endpoints.Subscription(one.id, one.project_id, one.events, one.filter) for one in [*wanted, lasting]
    ]


async def test_a_project_is_told_how_many_it_has(database: Database) -> None:
    await plant(database, endpoint("ep_1"), endpoint("ep_2"), endpoint("ep_3", hidden=True))
    assert await database.read(lambda tx: endpoints.count(tx, PROJECT)) == 2
    await delete(database)
    assert await database.read(lambda tx: endpoints.count(tx, PROJECT)) == 1


async def test_deleting_forgets_the_secret_and_happens_once(database: Database) -> None:
    await plant(database, endpoint(headers="sealed"))
    await database.write(lambda tx: endpoint_secrets.insert(tx, secret()))
    assert await delete(database, project_id="prj_2") is False
    assert await delete(database) is True
    assert await delete(database) is False
    assert await get(database) is None
    assert await database.read(lambda tx: endpoints.by_id(tx, "ep_1")) is None
    assert await database.read(lambda tx: tx.fetch("SELECT count(*) FROM endpoint_secrets")) == [(0,)]
    row = "SELECT status, disabled_reason, headers, deleted_at, updated_at FROM endpoints"
    assert await database.read(lambda tx: tx.fetch(row)) == [("disabled", "deleted", None, NOW + 5, NOW + 5)]


async def test_a_deleted_endpoint_is_still_known(database: Database) -> None:
    await plant(database, endpoint("ep_1"), endpoint("ep_2", hidden=True))
    await delete(database)

    async def known(tx: Connection) -> list[bool]:
        asked = [("ep_1", PROJECT), ("ep_1", "prj_2"), ("ep_2", PROJECT), ("ep_3", PROJECT)]
        return [await endpoints.known(tx, id, project_id) for id, project_id in asked]

    assert await database.read(known) == [True, False, False, False]


async def test_a_hidden_endpoint_is_neither_deleted_nor_disabled(database: Database) -> None:
    row = endpoint(hidden=True)
    await plant(database, row)
    assert await delete(database) is False
    assert await database.write(lambda tx: endpoints.disable(tx, "ep_1", "gone", now=NOW + 5)) is False
    assert await database.read(lambda tx: endpoints.by_id(tx, "ep_1")) == row


async def test_disabling_says_why_and_happens_once(database: Database) -> None:
    await plant(database, endpoint())
    assert await database.write(lambda tx: endpoints.disable(tx, "ep_1", "gone", now=NOW + 5)) is True
    assert await database.write(lambda tx: endpoints.disable(tx, "ep_1", "failing", now=NOW + 6)) is False
    expected = replace(
        endpoint(),
        status=EndpointStatus.DISABLED,
        disabled_reason="gone",
        inactive_since=NOW + 5,
        updated_at=NOW + 5,
    )
    assert await get(database) == expected


@ON_ONE_DATABASE
@given(row=rows(Endpoint), changed=rows(Endpoint))
async def test_every_field_that_may_change_can_be_saved(database: Database, row: Endpoint, changed: Endpoint) -> None:
    id = f"ep_{next(example)}"
    row = replace(row, id=id, project_id=PROJECT, hidden=False)
    changed = replace(changed, id=id, project_id=PROJECT, hidden=False, created_at=row.created_at)
    await plant(database, row)

    async def unit(tx: Connection) -> None:
        assert await endpoints.lock(tx, id, PROJECT) == row
        await endpoints.save(tx, changed)

    await database.write(unit)
    assert await database.read(lambda tx: endpoints.get(tx, id, PROJECT)) == changed


async def test_health_is_noted_beside_everything_else(database: Database) -> None:
    await plant(database, endpoint(), endpoint("ep_2", hidden=True))
    for id in ("ep_1", "ep_2"):
        await database.write(lambda tx, id=id: endpoints.note_health(tx, id, "ill"))  # type: ignore[misc]
    assert await get(database) == endpoint(health="ill")
    assert await database.read(lambda tx: endpoints.by_id(tx, "ep_2")) == endpoint("ep_2", hidden=True)


async def test_leases_that_ended_are_found_until_they_are_dealt_with(database: Database) -> None:
    ended = endpoint("ep_1", expires_at=NOW), endpoint("ep_2", expires_at=NOW - 1, status=EndpointStatus.PAUSED)
    await plant(database, *ended, endpoint("ep_3", expires_at=NOW + 1), endpoint("ep_4"))
    await plant(database, endpoint("ep_5", expires_at=NOW, status=EndpointStatus.DISABLED))
    assert await database.write(lambda tx: endpoints.lock_expired(tx, now=NOW, batch=9)) == [ended[1], ended[0]]
    assert await database.write(lambda tx: endpoints.lock_expired(tx, now=NOW, batch=1)) == [ended[1]]
    assert await database.read(lambda tx: endpoints.any_expired(tx, now=NOW - 1))
    assert not await database.read(lambda tx: endpoints.any_expired(tx, now=NOW - 2))
