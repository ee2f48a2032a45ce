"""Several writers and one reader by cursor, on one PostgreSQL: whether the feed skips an event, gives it twice or in another order.

    python -m tests.chaos.feed --events 1000000 [--url postgresql://…] [--writers 3] [--naive] [--seed N]

Writers are processes of their own with handles of the service. Their transactions are of any size, are held open now and then, and some are
given up. `--naive`: positions from a counter, read to the end, as one would at first; to see that this reader notices what is skipped.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import asyncpg

from storage import feed, outbox
from storage.database import Connection, Database, open_database
from storage.errors import StorageError
from storage.feed import EventFilter
from storage.records import Event
from tests import postgres

PROJECT = "prj_feed"
BODY = b'{"id":"evt_","type":"task.succeeded","timestamp":"2026-01-01T00:00:00Z","data":{"id":"task_"}}'
MOST = 40  # events of a unit
AT_ONCE = 6  # units of a writer on their way
HOLD, HOLD_SECONDS = 0.02, 0.05  # this share of units keeps its transaction open so long …
PAUSE, PAUSE_SECONDS = 0.2, 0.004  # … this one up to so long
GIVE_UP = 0.02  # this one is rolled back after it has told
PAGE = 200
REST_SECONDS = 0.002
LIMIT_SECONDS = 3600.0
NAIVE = """
    CREATE SEQUENCE IF NOT EXISTS naive;
    ALTER TABLE events ALTER position SET DEFAULT nextval('naive');
    CREATE OR REPLACE FUNCTION feed_bound() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT 4611686018427387904::bigint'
"""


class GivenUp(Exception):
    """The unit changes its mind."""


@dataclass(slots=True, kw_only=True)
class Ledger:
    """`told`: events whose commit was acknowledged. `moved`: places at which a second reading differs from the first."""

    told: int = 0
    read: int = 0
    skipped: int = 0
    doubled: int = 0
    strange: int = 0
    moved: int = 0
    held: int = 0
    looks: int = 0
    seconds: float = 0.0
    lags: list[float] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        return not (self.skipped or self.doubled or self.strange or self.moved) and self.read == self.told > 0

    def lines(self) -> list[str]:
        lag = sorted(self.lags) or [0.0]
        return [
            f"told by writers        {self.told:>10,}",
            f"read by cursor         {self.read:>10,}   in {self.seconds:.1f} s, {self.read / max(self.seconds, 1e-9):,.0f} a second",
            f"skipped                {self.skipped:>10,}",
            f"doubled                {self.doubled:>10,}",
            f"never told             {self.strange:>10,}",
            f"elsewhere read again   {self.moved:>10,}",
            f"looks                  {self.looks:>10,}   {self.held:,} of them with something held back",
            f"held back              {lag[len(lag) // 2] * 1000:>10.0f} ms in the middle, {lag[-1] * 1000:.0f} ms at most",
        ]


async def run(url: str, events: int, *, writers: int = 3, seed: int = 1, naive: bool = False) -> Ledger:
    """On a fresh, migrated database."""
    if naive:
        link = await asyncpg.connect(url)
        await link.execute(NAIVE)
        await link.close()
    database = await open_database(url, clock=_clock)
    ledger, began = Ledger(), time.monotonic()
    shares = [events // writers + (n < events % writers) for n in range(writers)]
    try:
        children = [await _child(url, n, share, seed) for n, share in enumerate(shares)]
        over = asyncio.gather(*(child.communicate() for child in children))
        async with asyncio.timeout(LIMIT_SECONDS):
            order = await _follow(database, over, ledger)
        ledger.seconds = time.monotonic() - began
        ledger.told = sum(int(out) for out, _ in await over)
        again = await _all(database)
    finally:
        for child in children:
            if child.returncode is None:
                child.kill()
                await child.wait()
        await database.close()
    _compare(order, again, ledger)
    return ledger


async def _child(url: str, number: int, share: int, seed: int) -> asyncio.subprocess.Process:
    given = ("--write", str(number), "--events", str(share), "--seed", str(seed), "--url", url)
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos.feed", *given, stdout=asyncio.subprocess.PIPE
    )


async def _follow(database: Database, over: asyncio.Future[list[tuple[bytes, bytes]]], ledger: Ledger) -> list[str]:
    """Read by cursor while they write, and until nothing is left when they are through."""
    order: list[str] = []
    after, held_since = 0, None
    while True:
        last_round = over.done()
        found = await _page(database, after)
        if found is None:  # the server is away
            await asyncio.sleep(REST_SECONDS)
            continue
        ledger.looks += 1
        ledger.held += found.held
        order += [one.id for one in found.events]
        if found.end != after and held_since is not None:
            ledger.lags.append(time.monotonic() - held_since)
            held_since = None
        if found.held and held_since is None:
            held_since = time.monotonic()
        after = found.end
        if last_round and not found.more and not found.held:
            return order
        if not found.more:
            await asyncio.sleep(REST_SECONDS)


async def _page(database: Database, after: int) -> feed.Stretch | None:
    try:
        return await database.read(lambda tx: feed.page(tx, PROJECT, EventFilter(), after=after, limit=PAGE))
    except StorageError:
        return None


async def _all(database: Database) -> list[str]:
    """What a reader finds who begins when all is over."""
    found: list[str] = []
    after, more = 0, True
    while more:
        start = after
        page = await database.read(
            lambda tx, start=start: feed.page(tx, PROJECT, EventFilter(), after=start, limit=1000)  # type: ignore[misc]
        )
        found += [one.id for one in page.events]
        after, more = page.end, page.more
    return found


def _compare(order: Sequence[str], again: Sequence[str], ledger: Ledger) -> None:
    read, there = set(order), set(again)
    ledger.read = len(order)
    ledger.doubled = len(order) - len(read)
    ledger.skipped = len(there - read)
    ledger.strange = len(read - there)
    if not ledger.skipped and not ledger.doubled:
        ledger.moved = sum(a != b for a, b in zip(order, again, strict=False))


# A writer


async def write(url: str, number: int, events: int, seed: int) -> int:
    """Tell so many events. Returns how many were acknowledged."""
    rng, database = random.Random(f"{seed} {number}"), await _opened(url)
    sizes, left = list[int](), events
    while left:
        sizes.append(min(rng.randint(1, MOST), left))
        left -= sizes[-1]
    told, made = 0, iter(enumerate(sizes))

    async def work() -> None:
        nonlocal told
        for turn, size in made:
            await _unit(database, number, turn, size, rng)
            told += size

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())
    finally:
        await database.close()
    return told


async def _opened(url: str) -> Database:
    while True:
        try:
            return await open_database(url, clock=_clock)
        except StorageError:  # the server is away
            await asyncio.sleep(PAUSE_SECONDS)


async def _unit(database: Database, number: int, turn: int, size: int, rng: random.Random) -> None:
    """One unit, until it is acknowledged; some change their mind at first."""
    dice, give_up = rng.random(), rng.random() < GIVE_UP
    hold = HOLD_SECONDS if dice < HOLD else rng.random() * PAUSE_SECONDS if dice < HOLD + PAUSE else 0.0
    told = [_event(f"{number}_{turn}_{n}") for n in range(size)]

    async def unit(tx: Connection) -> None:
        # Whose commit was lost with its answer is not run again: an end is told once, as in the service.
        if not await outbox.existing(tx, [one.id for one in told]):
            await outbox.publish(tx, told, [])
        if hold:
            await tx.fetch("SELECT pg_sleep(:seconds)", {"seconds": hold})
        if give_up:
            raise GivenUp

    if give_up:
        try:
            await database.write(unit)
        except GivenUp:
            give_up = False
    while True:
        try:
            await database.write(unit)
            return
        except StorageError:  # the server is away
            await asyncio.sleep(PAUSE_SECONDS)


def _event(name: str) -> Event:
    return Event(
        id=f"evt_{name}",
        project_id=PROJECT,
        task_id=f"task_{name}",
        provider="cloudsway",
        model="kling-3.0-turbo",
        type="task.succeeded",
        sequence=1,
        created_at=_clock(),
        body=BODY,
        hard=True,
    )


def _clock() -> int:
    return time.time_ns() // 1000


async def _main(given: argparse.Namespace) -> int:
    if given.write is not None:
        sys.stdout.write(str(await write(given.url, given.write, given.events, given.seed)))
        return 0
    if given.url:
        return _told(await run(given.url, given.events, writers=given.writers, seed=given.seed, naive=given.naive))
    with postgres.server(durable=False) as server:
        url = await postgres.database(server, "chaos_feed")
        return _told(await run(url, given.events, writers=given.writers, seed=given.seed, naive=given.naive))


def _told(ledger: Ledger) -> int:
    sys.stdout.write("\n".join(ledger.lines()) + "\n")
    return 0 if ledger.kept else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="tests.chaos.feed")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--writers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--naive", action="store_true")
    parser.add_argument("--url", default="")
    parser.add_argument("--write", type=int)
    sys.exit(asyncio.run(_main(parser.parse_args())))
