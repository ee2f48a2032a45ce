"""Two replicas are asked for the same at once: the second waits for the first's commit and hears its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from service.pipeline import books
from storage import answers, projects
from storage.answers import Kept
from storage.database import Connection, behind
from storage.records import Allowance
from tests.races.replicas import hand
from tests.races.test_spending import bounded
from tests.service.pipeline.rig import Rig

pytestmark = pytest.mark.slow

DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
STOPS = "LOCK TABLE installation IN ACCESS EXCLUSIVE MODE"  # whoever touches it holds what it has, and waits


def place(rig: Rig, project: str, asked_as: str, *, number: int = 0, attempt: int = 0) -> Kept:
    return Kept(
        id=rig.mint("ans"),
        project_id=project,
        route="POST /v1/tasks",
        asked_as=asked_as,
        number=number,
        fingerprint="f",
        asked_at=rig.clock(),
        least=attempt,
        most=attempt,
        keep_until=rig.clock() + 1,
    )


async def once(rig: Rig, own: Kept, *, held: bool = False, booked: bool = False) -> str:
    """As the API does it: take the place, do the work, fill it. Returns whose answer is heard."""

    async def unit(tx: Connection) -> str:
        if not await answers.claim(tx, own):
            found = await answers.find(tx, own)
            assert found is not None and found.status == 202
            return found.id
        if held:
            await projects.installation(tx)
        if booked:
            await books.hold(tx, own.project_id)
        assert await answers.keep(tx, replace(own, status=202, body=b"{}"))
        return own.id

    return await rig.database.write(behind(unit, own.project_id, own.route, own.asked_as))


async def counted(rig: Rig, own: Kept, *, held: bool = False) -> str:
    """The same for a try of an SDK."""

    async def unit(tx: Connection) -> str:
        while True:
            found = await answers.retried(tx, own, since=0)
            if found is not None:
                return found.id
            mine = replace(own, number=await answers.next_number(tx, own))
            if await answers.claim(tx, mine):
                break
        if held:
            await projects.installation(tx)
        assert await answers.keep(tx, replace(mine, status=202, body=b"{}"))
        return mine.id

    return await rig.database.write(behind(unit, own.project_id, own.route, own.asked_as))


async def test_whoever_asks_while_the_first_is_not_committed_hears_its_answer(
    replicas: tuple[Rig, Rig], address: str
) -> None:
    one, two = replicas
    project = await one.project()
    first, second = place(one, project, "order-8841"), place(two, project, "order-8841")
    async with hand(address) as third:
        await third.run(STOPS)
        begun = asyncio.create_task(once(one, first, held=True))
        await third.stopped()
        again = asyncio.create_task(once(two, second))
        await third.stopped(2)
    assert (await begun, await again) == (first.id, first.id)
    assert await one.rows("SELECT count(*) FROM answers") == [(1,)]


async def test_whoever_waited_for_one_that_fails_does_it(replicas: tuple[Rig, Rig], address: str) -> None:
    one, two = replicas
    project = await one.project()
    first, second = place(one, project, "order-8841"), place(two, project, "order-8841")

    async def fails(tx: Connection) -> None:
        assert await answers.claim(tx, first)
        await projects.installation(tx)
        raise ValueError("refused")

    async with hand(address) as third:
        await third.run(STOPS)
        begun = asyncio.create_task(one.database.write(fails))
        await third.stopped()
        again = asyncio.create_task(once(two, second))
        await third.stopped(2)
    with pytest.raises(ValueError, match="refused"):
        await begun
    assert await again == second.id


async def test_a_retry_at_another_replica_does_not_slip_past_a_first_try_that_is_not_committed(
    replicas: tuple[Rig, Rig], address: str
) -> None:
    one, two = replicas
    project = await one.project()
    first = place(one, project, "key_1 f")
    two.clock.now += 1
    retry = place(two, project, "key_1 f", attempt=1)
    async with hand(address) as third:
        await third.run(STOPS)
        begun = asyncio.create_task(counted(one, first, held=True))
        await third.stopped()
        again = asyncio.create_task(counted(two, retry))
        await third.stopped(2)
    assert (await begun, await again) == (first.id, first.id)


async def test_retries_at_both_replicas_at_once_find_different_answers(replicas: tuple[Rig, Rig]) -> None:
    one, two = replicas
    project = await one.project()
    for n in range(10):
        name = f"key_1 {n}"
        made: Sequence[str] = await asyncio.gather(
            *(counted(rig, place(rig, project, name)) for rig in (one, two, one, two))
        )
        retries = await asyncio.gather(
            *(counted(rig, place(rig, project, name, attempt=1)) for rig in (two, one, two, one))
        )
        assert len(set(made)) == 4 and set(retries) == set(made)


async def test_keys_in_opposite_order_at_two_replicas_wait_for_each_other_in_no_circle(
    replicas: tuple[Rig, Rig],
) -> None:
    """In the order they came in this takes a deadlock a second, five times."""
    one, two = replicas
    project = await one.project()
    names = [f"order-{n}" for n in range(12)]
    [(before,)] = await one.rows(DEADLOCKS)
    told = await asyncio.gather(
        *(once(one, place(one, project, name)) for name in names),
        *(once(two, place(two, project, name)) for name in reversed(names)),
    )
    assert len(set(told)) == len(names)
    assert await one.rows(DEADLOCKS) == [(before,)]


async def test_keys_of_a_bounded_project_at_two_replicas_wait_for_each_other_in_no_circle(
    replicas: tuple[Rig, Rig],
) -> None:
    """Each create holds the project's row too: one that has it and wants a key meets one that has the key and wants the row."""
    one, two = replicas
    project = await one.project()
    await bounded(one, project, Allowance(max_open_tasks=1000))
    before = await one.rows(DEADLOCKS)
    for n in range(3):
        asked = ((one, f"a-{n}"), (one, f"b-{n}"), (two, f"b-{n}"))
        told = await asyncio.gather(*(once(rig, place(rig, project, name), booked=True) for rig, name in asked))
        assert len(set(told)) == 2
    assert await one.rows(DEADLOCKS) == before


async def test_a_retry_and_a_create_of_a_bounded_project_wait_for_each_other_in_no_circle(
    replicas: tuple[Rig, Rig],
) -> None:
    """One has the project's row and wants the answer that the other has taken, which wants the row."""
    one, two = replicas
    project = await one.project()
    await bounded(one, project, Allowance(max_open_tasks=1000))
    before = await one.rows(DEADLOCKS)
    for n in range(3):
        await counted(one, place(one, project, f"m-{n}"))
        await asyncio.gather(
            once(one, place(one, project, f"a-{n}"), booked=True),
            counted(one, place(one, project, f"m-{n}", attempt=1)),
            counted(two, place(two, project, f"m-{n}", attempt=1)),
            once(two, place(two, project, f"z-{n}"), booked=True),
        )
    assert await one.rows(DEADLOCKS) == before
