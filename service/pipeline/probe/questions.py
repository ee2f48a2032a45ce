"""What is asked of a job once it has ended: only questions, none of which buys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from service.core.observation import Reading
from service.net.client import ProviderClient
from service.net.guard import NetError
from service.pipeline import clues
from service.pipeline.accounts import AccountDesk
from service.providers.base import Flow, ProviderError
from storage.database import Database
from storage.records import Task, evolve

T = TypeVar("T")
NOBODY = "task_" + "0" * 26


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """`together`: the job and one that nobody has, asked in one query. `found`: by the look-up; None where there is none.
    `first`: how many exchanges there were before each."""

    together: Mapping[str, Reading]
    found: Reading | None
    together_at: int
    found_at: int | None


async def ask(
    account: AccountDesk,
    task: Task,
    database: Database,
    client: ProviderClient,
    read_token: Callable[[str, str], str | None],
    count: Callable[[], int],
) -> Answers:
    """`count`: how many exchanges there were so far, so that each answer's own can be found again."""
    nobody = evolve(task, id=NOBODY, provider_task_id=account.provider.traits.no_job)
    asked = [task, nobody] if account.provider.traits.batch > 1 else [task]
    before = count()
    together = await _asked(account, account.provider.query(account.account, asked), client) or {}
    if account.provider.traits.batch == 1:
        alone = await _asked(account, account.provider.query(account.account, [nobody]), client) or {}
        together = {**together, **alone}
    found, found_at = None, None
    if account.look_up:
        known = await database.read(lambda tx: clues.gather(tx, task, read_token))
        lost, found_at = evolve(task, provider_task_id=None), count()
        found = await _asked(account, account.provider.look_up(account.account, lost, known), client)
    return Answers(together=together, found=found, together_at=before, found_at=found_at)


async def _asked(account: AccountDesk, flow: Flow[T], client: ProviderClient) -> T | None:
    try:
        return await client.drive(flow, account.channel, timeout_seconds=account.query_seconds)
    except (NetError, ProviderError):
        return None
