"""Limits of time that run out when a test says so: they can be generous, and nobody waits for them."""

from __future__ import annotations

import asyncio
from types import TracebackType

import pytest


class Limits:
    """Every `asyncio.timeout` that somebody is in. Moves the limit and not the clock, so it works on both loops."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered: dict[asyncio.Timeout, asyncio.Task[object] | None] = {}
        enter, leave = asyncio.Timeout.__aenter__, asyncio.Timeout.__aexit__

        async def entered(limit: asyncio.Timeout) -> asyncio.Timeout:
            await enter(limit)
            self.entered[limit] = asyncio.current_task()
            return limit

        async def left(
            limit: asyncio.Timeout,
            kind: type[BaseException] | None,
            error: BaseException | None,
            where: TracebackType | None,
        ) -> None:
            self.entered.pop(limit, None)
            await leave(limit, kind, error, where)

        monkeypatch.setattr(asyncio.Timeout, "__aenter__", entered)
        monkeypatch.setattr(asyncio.Timeout, "__aexit__", left)

    def lapse(self, *tasks: asyncio.Task[object]) -> None:
        """Let the limits that these tasks are in run out now."""
        for limit, task in self.entered.items():
            if task in tasks and not limit.expired():
                limit.reschedule(asyncio.get_running_loop().time())

    def left(self, task: asyncio.Task[object]) -> float:
        """Seconds until the first limit that this task is in runs out."""
        ends = [when for limit, whose in self.entered.items() if whose is task and (when := limit.when()) is not None]
        return min(ends) - asyncio.get_running_loop().time()
