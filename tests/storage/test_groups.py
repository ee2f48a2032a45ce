from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from storage import groups
from storage.database import Connection, Unit, apart, behind
from storage.errors import StorageError, Unavailable
from storage.groups import Failed, Groups


class Passing(Exception):
    """Trouble that may pass."""


class Writer:
    """Runs units without a database: what is under test is who waits, who is tried again and who hears what."""

    def __init__(self, troubles: int = 0) -> None:
        self.sizes: list[int] = []
        self.troubles = troubles

    async def run(self, units: Sequence[Unit[Any]]) -> list[object]:
        self.sizes.append(len(units))
        await asyncio.sleep(0)
        if self.troubles:
            self.troubles -= 1
            return [Failed(Passing())] * len(units)
        return [await unit(None) for unit in units]  # type: ignore[arg-type]

    def line(self, *, patience: float = 10.0, apart: bool = False) -> Groups:
        def translate(error: BaseException) -> BaseException:
            return StorageError("in our words") if isinstance(error, Passing) else error

        def passes(error: BaseException) -> bool:
            return isinstance(error, Passing)

        return Groups(self.run, passes=passes, translate=translate, patience=patience, apart=apart)


def unit(value: object) -> Unit[object]:
    async def say(tx: Connection) -> object:
        return value

    return say


async def test_what_arrives_during_a_commit_is_the_next_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "GROUP", 4)
    writer = Writer()
    line = writer.line()
    assert await asyncio.gather(*(line.write(unit(n)) for n in range(9))) == list(range(9))
    assert writer.sizes == [4, 4, 1]


async def test_trouble_that_passes_is_waited_for_in_turn() -> None:
    writer = Writer(troubles=3)
    line = writer.line()
    assert list(await asyncio.gather(line.write(unit("a")), line.write(unit("b")))) == ["a", "b"]
    assert writer.sizes == [2, 2, 2, 2]


async def test_patience_ends_in_our_own_words() -> None:
    with pytest.raises(StorageError, match="in our words"):
        await Writer(troubles=10_000).line(patience=0.0).write(unit("a"))


async def test_a_unit_may_return_an_exception() -> None:
    assert isinstance(await Writer().line().write(unit(LookupError("a value"))), LookupError)


async def test_a_full_line_sends_callers_away_and_finishes_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "WAITING", 2)
    line = Writer().line()
    accepted = [asyncio.create_task(line.write(unit(n))) for n in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="waiting already"):
        await line.write(unit(3))
    await line.finish()
    assert [await one for one in accepted] == [0, 1]


@pytest.mark.parametrize(("several_writers", "sizes"), [(True, [2, 3]), (False, [5])])
async def test_units_that_lock_what_others_write_last_are_in_no_group_with_others(
    several_writers: bool, sizes: list[int]
) -> None:
    writer = Writer()
    line = writer.line(apart=several_writers)
    units: list[Unit[object]] = [unit(0), apart(unit(1), "a"), unit(2), apart(unit(3), "b"), unit(4)]
    assert await asyncio.gather(*(line.write(one) for one in units)) == [0, 1, 2, 3, 4]
    assert writer.sizes == sizes


async def test_units_apart_run_in_the_order_of_what_they_lock() -> None:
    ran: list[str] = []

    def locking(key: str) -> Unit[None]:
        async def note(tx: Connection) -> None:
            ran.append(key)

        return apart(note, key)

    line = Writer().line(apart=True)
    await asyncio.gather(*(line.write(locking(key)) for key in ("b", "c", "a")))
    assert ran == ["a", "b", "c"]


async def test_who_waited_behind_trouble_as_long_as_those_in_it_is_not_made_to_wait_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(groups, "GROUP", 1)
    writer = Writer(troubles=10_000)
    line = writer.line(patience=0.0)
    outcomes = await asyncio.gather(*(line.write(unit(n)) for n in range(5)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {StorageError}
    assert writer.sizes == [1]
    writer.troubles = 0
    assert await Writer().line().write(unit("a")) == "a"
    monkeypatch.setattr(line, "_patience", 10.0)
    assert await line.write(unit("b")) == "b"  # nobody has to start it again


async def test_with_several_writers_those_that_lock_run_behind_the_others_and_in_order() -> None:
    ran: list[str] = []

    def said(word: str) -> Unit[str]:
        async def say(tx: Connection) -> str:
            ran.append(word)
            return word

        return say

    def asked() -> list[Unit[str]]:
        return [
            behind(said("b"), "prj_2"),
            said("1"),
            behind(said("a"), "prj_1"),
            said("2"),
            behind(said("c"), "prj_2"),
        ]

    line = Writer().line(apart=True)
    assert await asyncio.gather(*map(line.write, asked())) == ["b", "1", "a", "2", "c"], "each its own answer"
    assert ran == ["1", "2", "a", "b", "c"]
    ran.clear()
    line = Writer().line()
    await asyncio.gather(*map(line.write, asked()))
    assert ran == ["b", "1", "a", "2", "c"], "one writer waits for nobody"
