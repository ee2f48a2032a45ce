from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import callbacks
from storage.callbacks import Bell, Orphan, Orphaned
from storage.database import Connection, Database
from storage.errors import Duplicate
from storage.records import ObservationRow, TimelineEntry
from tests.storage.builders import ACCOUNT, NOW, SECOND, push
from tests.storage.strategies import ON_ONE_DATABASE, rows

example = iter(range(1_000_000))


async def keep(database: Database, *pushes: ObservationRow) -> set[str]:
    return await database.write(lambda tx: callbacks.insert_pushes(tx, pushes))


# Round trips


@ON_ONE_DATABASE
@given(row=rows(ObservationRow), as_push=st.booleans())
async def test_every_field_of_an_observation_survives(database: Database, row: ObservationRow, as_push: bool) -> None:
    row = replace(row, id=f"obs_{next(example)}", task_id=f"task_{next(example)}", submission_id=f"sub_{next(example)}")

    async def unit(tx: Connection) -> list[ObservationRow]:
        await (callbacks.insert_pushes if as_push else callbacks.insert)(tx, [row])
        return await callbacks.of_task(tx, row.task_id)

    assert await database.write(unit) == [row]


@ON_ONE_DATABASE
@given(entry=rows(TimelineEntry))
async def test_every_field_of_a_timeline_entry_survives(database: Database, entry: TimelineEntry) -> None:
    entry = replace(entry, task_id=f"task_{next(example)}")
    await database.write(lambda tx: callbacks.note(tx, [entry]))
    assert await database.read(lambda tx: callbacks.timeline_of(tx, entry.task_id)) == [entry]


# The same push twice


async def test_the_same_push_is_kept_once(database: Database) -> None:
    first = push("obs_1", digest=b"same")
    assert await keep(database, first) == {"obs_1"}
    assert await keep(database, push("obs_2", digest=b"same", raw=b"later")) == set()
    assert await database.read(lambda tx: callbacks.of_task(tx, "task_1")) == [first]


async def test_the_same_push_twice_in_one_batch_is_kept_once(database: Database) -> None:
    again = [push("obs_1", digest=b"a"), push("obs_2", digest=b"a"), push("obs_3", digest=b"b")]
    assert await keep(database, *again) == {"obs_1", "obs_3"}


async def test_the_same_bytes_for_another_submission_are_another_push(database: Database) -> None:
    assert await keep(database, push("obs_1", digest=b"a"), push("obs_2", digest=b"a", submission_id="sub_2")) == {
        "obs_1",
        "obs_2",
    }


async def test_one_push_that_comes_through_two_handles_at_once_is_kept_once(
    database: Database, other_handle: Database
) -> None:
    kept = await asyncio.gather(
        *((database, other_handle)[n % 2].write(lambda tx, n=n: keep_some(tx, n)) for n in range(20))  # type: ignore[misc]
    )
    assert sum(map(len, kept)) == 5
    assert len(await database.read(lambda tx: callbacks.of_task(tx, "task_1"))) == 5


async def keep_some(tx: Connection, n: int) -> set[str]:
    return await callbacks.insert_pushes(tx, [push(f"obs_{n}_{of}", digest=bytes([of])) for of in range(5)])


async def test_observations_without_a_digest_are_all_kept(database: Database) -> None:
    found = [push(f"obs_{n}", digest=None, source="poll", verified_at=NOW) for n in (2, 1)]
    await database.write(lambda tx: callbacks.insert(tx, found))
    assert await database.read(lambda tx: callbacks.of_task(tx, "task_1")) == [found[1], found[0]]


# The doorbell


async def bells(database: Database, *, batch: int = 10) -> list[tuple[str, int]]:
    found = await database.read(lambda tx: callbacks.unverified(tx, ACCOUNT, batch=batch))
    return [(bell.task_id, bell.seen_at) for bell in found]


async def test_unanswered_pushes_ring_oldest_first(database: Database) -> None:
    await keep(
        database,
        push("obs_1", task_id="task_b", seen_at=NOW + 2),
        push("obs_2", task_id="task_a", seen_at=NOW + 1, claim="failed", content='{"a":1}'),
        push("obs_3", task_id="task_c", seen_at=NOW, verified_at=NOW),
        push("obs_4", task_id="task_d", seen_at=NOW, account="other"),
    )
    assert await bells(database) == [("task_a", NOW + 1), ("task_b", NOW + 2)]
    assert await bells(database, batch=1) == [("task_a", NOW + 1)]
    first = (await database.read(lambda tx: callbacks.unverified(tx, ACCOUNT, batch=1)))[0]
    assert first == Bell("obs_2", "task_a", "failed", '{"a":1}', NOW + 1)
    assert await database.read(lambda tx: callbacks.oldest_unverified(tx, ACCOUNT)) == NOW + 1
    assert await database.read(lambda tx: callbacks.oldest_unverified(tx, "nobody")) is None


async def test_what_is_put_to_rest_is_what_was_looked_at_and_no_push_of_the_same_moment(database: Database) -> None:
    await keep(
        database, push("obs_1", task_id="task_1"), push("obs_2", task_id="task_1"), push("obs_3", task_id="task_2")
    )
    looked_at = [
        bell
        for bell in await database.read(lambda tx: callbacks.unverified(tx, ACCOUNT, batch=9))
        if bell.id in ("obs_1", "obs_3")
    ]
    await database.write(lambda tx: callbacks.rest(tx, looked_at, now=NOW + 1))
    left = await database.read(lambda tx: callbacks.unverified(tx, ACCOUNT, batch=9))
    assert [bell.id for bell in left] == ["obs_2"]


async def test_an_answer_silences_what_was_seen_before_it_was_asked(database: Database) -> None:
    await keep(
        database,
        push("obs_1", seen_at=NOW),
        push("obs_2", seen_at=NOW + 1),
        push("obs_3", seen_at=NOW + 2),  # came after the query was sent: its answer may not know of this
        push("obs_4", task_id="task_2"),
        push("obs_5", account="other"),
    )
    later = NOW + SECOND
    await database.write(lambda tx: callbacks.answer(tx, [(ACCOUNT, "task_1", NOW + 1)], now=later))
    assert await bells(database) == [("task_2", NOW), ("task_1", NOW + 2)]
    assert await database.read(lambda tx: callbacks.oldest_unverified(tx, "other")) == NOW
    found = await database.read(lambda tx: callbacks.of_task(tx, "task_1"))
    assert {one.id: one.verified_at for one in found} == {
        "obs_1": later,
        "obs_2": later,
        "obs_3": None,
        "obs_5": None,
    }


async def test_a_first_answer_stays_the_answer(database: Database) -> None:
    await keep(database, push())
    for now in (NOW + 1, NOW + 2):
        await database.write(lambda tx, now=now: callbacks.answer(tx, [(ACCOUNT, "task_1", NOW)], now=now))  # type: ignore[misc]
    assert (await database.read(lambda tx: callbacks.of_task(tx, "task_1")))[0].verified_at == NOW + 1


# Pushes nobody can attribute


async def test_orphans_are_kept_once_and_up_to_a_limit(database: Database) -> None:
    pushed = [
        Orphan(id=f"cb_{n}", provider="cloudsway", submission_id="sub_gone", raw=b"{}", received_at=NOW + n)
        for n in range(8)
    ]

    async def keep_orphan(n: int) -> Orphaned:
        return await database.write(lambda tx: callbacks.keep_orphan(tx, pushed[n], bytes([n // 2]), limit=3))

    became = [await keep_orphan(n) for n in range(8)]
    assert became == [Orphaned.KEPT, Orphaned.KNOWN] * 3 + [Orphaned.DROPPED] * 2
    assert await keep_orphan(1) is Orphaned.KNOWN, "one that is kept is known, however full the shelf"
    assert await database.read(callbacks.count_orphans) == 3
    assert await database.read(lambda tx: callbacks.orphans(tx, batch=2)) == [pushed[4], pushed[2]], "newest first"


async def test_the_same_bytes_for_another_unknown_submission_are_another_orphan(database: Database) -> None:
    for number in (1, 2):
        orphan = Orphan(id=f"cb_{number}", provider="acedata", submission_id=f"sub_{number}", raw=b"", received_at=NOW)

        async def unit(tx: Connection, orphan: Orphan = orphan) -> Orphaned:
            return await callbacks.keep_orphan(tx, orphan, b"same", limit=10)

        assert await database.write(unit) is Orphaned.KEPT


# The timeline


async def test_the_timeline_is_in_the_order_of_versions(database: Database) -> None:
    def entry(version: int, ordinal: int, task_id: str = "task_1") -> TimelineEntry:
        return TimelineEntry(
            task_id=task_id, version=version, ordinal=ordinal, at=NOW, kind="observed", source="poll", detail="{}"
        )

    noted = [entry(10, 0), entry(2, 1), entry(2, 0), entry(1, 0, "task_2")]
    await database.write(lambda tx: callbacks.note(tx, noted))
    assert await database.read(lambda tx: callbacks.timeline_of(tx, "task_1")) == [noted[2], noted[1], noted[0]]
    with pytest.raises(Duplicate):
        await database.write(lambda tx: callbacks.note(tx, [entry(2, 0)]))


# What pushes said


async def test_the_latest_pushes_of_a_task_are_read_newest_first_and_no_more_than_asked_for(database: Database) -> None:
    pushes = [push(f"obs_{n}", digest=bytes([n]), content=f'{{"n":{n}}}') for n in range(4)]
    await keep(database, *pushes, push("obs_9", digest=b"other", task_id="task_2"))
    await database.write(lambda tx: callbacks.insert(tx, [replace(pushes[0], id="obs_8", digest=None)]))
    found = await database.read(lambda tx: callbacks.pushed(tx, "task_1", batch=3))
    assert found == ['{"n":3}', '{"n":2}', '{"n":1}']
