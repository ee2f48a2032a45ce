"""What an endpoint was owed is known by its place in the feed, whatever was changed since."""

from __future__ import annotations

from dataclasses import replace

from storage import endpoints, outbox, subscriptions
from storage.database import Connection, Database
from storage.records import Endpoint, EndpointStatus
from storage.subscriptions import STILL
from tests.storage.builders import NOW, PROJECT, endpoint, event, plant

count = iter(range(1, 1_000_000))


async def told(database: Database, project_id: str = PROJECT) -> int:
    """One more event of the project. Returns its place."""
    made = event(f"evt_{next(count)}", project_id=project_id)

    async def unit(tx: Connection) -> int:
        await outbox.publish(tx, [made], [])
        [(place,)] = await tx.fetch("SELECT max(position) FROM events")
        return int(place)  # type: ignore[call-overload, no-any-return]

    return await database.write(unit)


async def spans(
    database: Database, after: int = 0, upto: int = STILL
) -> list[tuple[int, int, str | None, str | None, int | None]]:
    found = await database.read(lambda tx: subscriptions.between(tx, PROJECT, after=after, upto=upto))
    return sorted((one.since, one.until, one.events, one.filter, one.expires_at) for one in found)


async def saved(database: Database, changed: Endpoint) -> None:
    await database.write(lambda tx: endpoints.save(tx, changed))


async def test_it_is_owed_what_comes_after_it_was_made_and_until_it_is_deleted(database: Database) -> None:
    await plant(database)
    first = await told(database)
    await plant(database, endpoint())
    assert await spans(database) == [(first, STILL, None, None, None)]
    second = await told(database)
    await told(database, "prj_of_others")
    await database.write(lambda tx: endpoints.delete(tx, "ep_1", PROJECT, now=NOW))
    assert await spans(database) == [(first, second, None, None, None)]


async def test_what_it_wants_is_kept_as_it_was_and_what_does_not_decide_is_no_change(database: Database) -> None:
    await plant(database, endpoint())
    place = await told(database)
    wanted = replace(endpoint(), events="*", filter='{"model":["x"]}', expires_at=NOW)
    await saved(database, wanted)
    await saved(database, replace(wanted, description="the same", tested_at=NOW, status=EndpointStatus.PAUSED))
    assert await spans(database) == [(0, place, None, None, None), (place, STILL, "*", '{"model":["x"]}', NOW)]


async def test_of_two_changes_between_which_nothing_happened_the_second_counts(database: Database) -> None:
    await plant(database, endpoint())
    for events in ("task.failed", "*"):
        await saved(database, endpoint(events=events))
    assert await spans(database) == [(0, STILL, "*", None, None)]


async def test_a_disabled_one_is_owed_nothing_until_it_is_resumed(database: Database) -> None:
    await plant(database, endpoint())
    first = await told(database)
    await database.write(lambda tx: endpoints.disable(tx, "ep_1", "410", now=NOW))
    second = await told(database)
    await saved(database, endpoint(status=EndpointStatus.DISABLED, description="still off"))
    await saved(database, endpoint())
    assert await spans(database) == [(0, first, None, None, None), (second, STILL, None, None, None)]


async def test_one_that_carries_the_urls_of_tasks_subscribes_to_nothing(database: Database) -> None:
    await plant(database, endpoint(hidden=True))
    assert await spans(database) == []


async def test_only_what_touches_the_stretch_is_read(database: Database) -> None:
    await plant(database, endpoint())
    first, second = await told(database), await told(database)
    await saved(database, endpoint(events="*"))
    third = await told(database)
    assert [one[2] for one in await spans(database, after=second)] == ["*"]
    assert [one[2] for one in await spans(database, after=first, upto=second)] == [None]
    assert [one[2] for one in await spans(database, after=first, upto=third)] == [None, "*"]
