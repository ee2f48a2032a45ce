"""What PostgreSQL says of itself: the facts of the kill test, for each provider its own, and what is still under way."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import asyncpg

from tests.kill import facts
from tests.kill.facts import Facts

Link: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

ACCOUNTS = "SELECT id, account FROM tasks"
IN_DOUBT = "SELECT id, account, input::json->>'prompt', resends FROM tasks WHERE status = 'unconfirmed'"
OPEN = """
    SELECT (SELECT count(*) FROM tasks WHERE finished_at IS NULL AND status <> 'unconfirmed'),
           (SELECT count(*) FROM deliveries WHERE status = 'pending'),
           (SELECT count(*) FROM observations WHERE verified_at IS NULL)
"""


async def connect(url: str) -> Link:
    """For reading everything at once: whole tables take longer than what the service allows itself."""
    link = await asyncpg.connect(url, timeout=5)
    await link.execute("SET statement_timeout = 0; SET lock_timeout = 0")
    return link


async def read(url: str, link: Link, kinds: Sequence[str]) -> dict[str, Facts]:
    """Everything, once nothing changes any more: for each provider its own."""
    whole = await asyncio.to_thread(facts.read, url)
    accounts = {str(id): str(account) for id, account in await link.fetch(ACCOUNTS)}
    return {kind: part(whole, {id for id, account in accounts.items() if account == kind}) for kind in kinds}


def part(whole: Facts, ids: Collection[str]) -> Facts:
    """What is said of these tasks. Pushes are not told apart: none must be missing."""
    found = Facts(pushes=whole.pushes, bells=whole.bells)
    found.tasks = {id: task for id, task in whole.tasks.items() if id in ids}
    found.events = {id: event for id, event in whole.events.items() if event.task_id in ids}
    found.submissions.update({id: times for id, times in whole.submissions.items() if id in ids})
    return found


@dataclass(frozen=True, slots=True)
class Doubt:
    """A purchase whose fate is not known."""

    task_id: str
    account: str
    prompt: str
    resends: int


async def doubts(link: Link) -> list[Doubt]:
    return [Doubt(*row) for row in await link.fetch(IN_DOUBT)]


async def still_open(link: Link) -> dict[str, int]:
    """How much is still under way, apart from purchases in doubt: tasks, deliveries, pushes to be verified."""
    row = await link.fetchrow(OPEN)
    assert row is not None
    return dict(zip(("tasks", "deliveries", "bells"), map(int, row), strict=True))
