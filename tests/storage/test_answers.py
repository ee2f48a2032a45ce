"""Answers that are kept: one place for whoever states the same, and each try of an SDK finds its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from storage import answers, retention
from storage.answers import Kept
from storage.database import Connection, Database
from storage.records import TaskStatus
from tests.storage.builders import PROJECT, plant, project, task

PLACE = Kept(
    id="ans_1",
    project_id=PROJECT,
    route="POST /v1/tasks",
    asked_as="order-8841",
    number=0,
    fingerprint="f1",
    asked_at=1_000,
    keep_until=9_000,
)


@pytest.fixture(autouse=True)
async def _project(database: Database) -> None:
    await plant(database, project("prj_2"))


def full(place: Kept, task_id: str | None = None) -> Kept:
    return replace(place, status=202, headers='{"a":"b"}', body=b"{}", task_id=task_id)


async def made(database: Database, place: Kept, *, filled: bool = True) -> None:
    async def unit(tx: Connection) -> None:
        assert await answers.claim(tx, place)
        assert not filled or await answers.keep(tx, full(place))

    await database.write(unit)


def of_sdk(number: int, *, attempt: int = 0, asked_at: int = 1_000) -> Kept:
    return replace(
        PLACE, id=f"ans_{number}", asked_as="key_1 f1", number=number, least=attempt, most=attempt, asked_at=asked_at
    )


async def retried(database: Database, attempt: int, *, asked_at: int = 2_000, since: int = 0) -> str | None:
    place = of_sdk(99, attempt=attempt, asked_at=asked_at)
    found = await database.write(lambda tx: answers.retried(tx, place, since=since))
    return found.id if found is not None else None


async def test_a_place_is_taken_once_and_shows_its_answer_to_whoever_comes_later(database: Database) -> None:
    await made(database, PLACE)
    assert not await database.write(lambda tx: answers.claim(tx, replace(PLACE, id="ans_2")))
    assert await database.read(lambda tx: answers.find(tx, replace(PLACE, id="ans_2"))) == full(PLACE)


@pytest.mark.parametrize("other", [{"project_id": "prj_2"}, {"route": "POST /v1/keys"}, {"asked_as": "order-8842"}])
async def test_another_project_route_or_key_is_another_place(database: Database, other: dict[str, str]) -> None:
    await made(database, PLACE)
    assert await database.write(lambda tx: answers.claim(tx, replace(PLACE, id="ans_2", **other)))  # type: ignore[arg-type]


async def test_a_place_that_was_given_back_is_free_and_a_filled_one_stays(database: Database) -> None:
    await made(database, PLACE, filled=False)
    await database.write(lambda tx: answers.drop(tx, PLACE.id))
    await made(database, PLACE)
    await database.write(lambda tx: answers.drop(tx, PLACE.id))
    assert await database.read(lambda tx: answers.find(tx, PLACE)) == full(PLACE)
    assert not await database.write(lambda tx: answers.keep(tx, full(PLACE, task_id="task_1")))


async def test_whoever_fell_silent_loses_the_place_to_one_alone(database: Database) -> None:
    working = replace(PLACE, until=5_000)
    await made(database, working, filled=False)
    second, third = replace(PLACE, id="ans_2", until=7_000), replace(PLACE, id="ans_3", until=7_000)
    assert await database.write(lambda tx: answers.take_over(tx, working, second))
    assert not await database.write(lambda tx: answers.take_over(tx, working, third))
    assert not await database.write(lambda tx: answers.keep(tx, full(working))), "it may have come to life again"
    assert await database.write(lambda tx: answers.keep(tx, full(second)))


async def test_parallel_retries_each_find_another_answer(database: Database) -> None:
    for number in (1, 2, 3):
        await made(database, of_sdk(number))
    assert [await retried(database, 1) for _ in range(4)] == ["ans_1", "ans_2", "ans_3", None]


async def test_a_second_retry_finds_what_the_first_was_answered(database: Database) -> None:
    await made(database, of_sdk(1))
    await made(database, of_sdk(2))
    assert await retried(database, 1) == "ans_1"
    assert [await retried(database, 2) for _ in range(3)] == ["ans_1", "ans_2", None]


async def test_a_first_try_and_a_retry_of_the_same_count_find_nothing(database: Database) -> None:
    await made(database, of_sdk(1, attempt=1))
    assert (await retried(database, 0), await retried(database, 1)) == (None, None)


async def test_a_try_that_was_overtaken_by_its_retry_finds_what_that_made(database: Database) -> None:
    await made(database, of_sdk(1, attempt=1, asked_at=3_000))
    assert [await retried(database, 0, asked_at=2_000) for _ in range(2)] == ["ans_1", None]


async def test_what_is_too_old_belongs_to_another_call(database: Database) -> None:
    await made(database, of_sdk(1))
    assert (await retried(database, 1, since=1_000), await retried(database, 1, since=999)) == (None, "ans_1")


async def test_numbers_count_on(database: Database) -> None:
    for number in (1, 2):
        assert await database.write(lambda tx: answers.next_number(tx, of_sdk(0))) == number
        await made(database, of_sdk(number))


async def test_what_was_kept_long_enough_goes_unless_its_task_is_open(database: Database) -> None:
    await plant(
        database,
        task("task_open"),
        task("task_over", status=TaskStatus.FAILED, finished_at=1, final_at=1),
    )
    for n, (until, task_id) in enumerate(
        [(10, None), (10, "task_over"), (10, "task_gone"), (10, "task_open"), (11, None)]
    ):
        own = replace(PLACE, id=f"ans_{n}", asked_as=f"{n}", keep_until=until)
        await made(database, own, filled=False)
        await database.write(lambda tx, own=own, task_id=task_id: answers.keep(tx, full(own, task_id=task_id)))  # type: ignore[misc]
    taken = await database.write(lambda tx: retention.delete_answers(tx, below="ans_z", now=10, batch=2))
    taken += await database.write(lambda tx: retention.delete_answers(tx, below="ans_z", now=10, batch=2))
    left = await database.read(lambda tx: tx.fetch("SELECT id FROM answers ORDER BY id"))
    assert (taken, left) == (3, [("ans_3",), ("ans_4",)])
    assert await database.write(lambda tx: retention.delete_answers(tx, below="ans_4", now=99, batch=9)) == 0


async def test_of_very_many_equal_requests_the_newest_are_looked_at(database: Database) -> None:
    async def unit(tx: Connection) -> None:
        for number in range(1, answers.LOOKED_AT + 2):
            assert await answers.claim(tx, of_sdk(number))

    await database.write(unit)
    assert await retried(database, 1) == "ans_2"
