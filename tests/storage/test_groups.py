from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from storage import groups
from storage.database import Connection, Unit
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

    def line(self, *, patience: float = 10.0) -> Groups:
        def translate(error: BaseException) -> BaseException:
            return StorageError("in our words") if isinstance(error, Passing) else error

        return Groups(self.run, passes=lambda error: isinstance(error, Passing), translate=translate, patience=patience)


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
