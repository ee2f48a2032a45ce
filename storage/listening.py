"""Wake-ups through PostgreSQL: one connection of its own that listens and tells, made again whenever it is lost.

Never inside a transaction that writes: a commit that notifies waits for every other that does. Ours carries nothing else, is not
synced, and is one for all that happened in 20 ms.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from storage import connecting
from storage.wakeups import EVERYTHING, Hint, read, spelled, together

if TYPE_CHECKING:
    Link: TypeAlias = asyncpg.Connection[asyncpg.Record]

log = logging.getLogger("taskrelay.wakeups")

CHANNEL = "taskrelay"
TELL = "SELECT pg_notify('taskrelay', $1)"
BETWEEN_SECONDS = 0.02
ANSWER_SECONDS = 5.0
ASK_SECONDS = 5.0  # a line that is silent for so long is asked whether it still is one
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 2.0
LAST_SECONDS = 1.0  # for what is still to be said at the end
KEPT = 10_000  # hints in memory while the line is down; it is a hint, and whoever missed one looks


class Listening:
    """`alive` only while the server was heard of lately."""

    def __init__(self, url: str, name: str) -> None:
        self.alone = False
        self.alive = False
        self._url = url
        self._name = name
        self._told: list[Hint] = []
        self._something = asyncio.Event()
        self._link: Link | None = None
        self._saying = asyncio.Lock()

    def tell(self, hint: Hint) -> None:
        if len(self._told) >= KEPT:
            self._told = [EVERYTHING]
        self._told.append(hint)
        self._something.set()

    async def run(self, heard: Callable[[Hint], None]) -> None:
        pause = PAUSE_SECONDS
        while True:
            try:
                await self._listen(heard)
            except (
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                asyncpg.InternalClientError,
                OSError,
                TimeoutError,
            ) as error:
                if self.alive:
                    log.warning("wake-ups are lost (%s); meanwhile we look every so often", type(error).__name__)
                    pause = PAUSE_SECONDS
            finally:
                self.alive = False
                self._drop()
            await asyncio.sleep(pause * (0.5 + random.random()))  # replicas that lost it together
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def close(self) -> None:
        with suppress(Exception):  # a hint: who does not hear it looks
            async with asyncio.timeout(LAST_SECONDS):
                if self._link is None and self._told:
                    await self._connect()
                await self._say()
        self._drop()

    async def _listen(self, heard: Callable[[Hint], None]) -> None:
        link = await self._connect()

        def hear(_: object, __: int, ___: str, payload: object) -> None:
            hint = read(str(payload), self._name)
            if hint is not None:
                heard(hint)

        link.add_termination_listener(lambda _: self._something.set())
        await link.add_listener(CHANNEL, hear)
        self.alive = True
        heard(EVERYTHING)  # whatever was said while nobody listened here
        while True:
            try:
                async with asyncio.timeout(ASK_SECONDS):
                    await self._something.wait()
            except TimeoutError:
                await link.fetchval("SELECT 1")
                continue
            if link.is_closed():
                raise ConnectionResetError("the server closed it")
            await self._say()
            await asyncio.sleep(BETWEEN_SECONDS)

    async def _connect(self) -> Link:
        self._link = await connecting.connect(
            self._url,
            command_timeout=ANSWER_SECONDS,
            server_settings={"application_name": "taskrelay", "synchronous_commit": "off"},
        )
        return self._link

    async def _say(self) -> None:
        """Say in one what was told since the last. Should it fail, it is said again."""
        async with self._saying:
            self._something.clear()
            told, link = self._told, self._link
            if not told or link is None:
                return
            self._told = []
            try:
                await link.execute(TELL, spelled(together(told), self._name))
            except BaseException:
                self._told = [*told, *self._told]
                self._something.set()
                raise

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.terminate()
