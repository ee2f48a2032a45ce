"""Which account a task goes to: of those that may be asked for it the one with the least to do, and of each fallback's as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from service.core import money
from service.core.care import pauses
from service.core.fallback import Candidate
from service.core.request import TaskRequest
from service.net.guard import Target
from service.pipeline.accounts import AccountDesk
from service.providers.base import Prepared, Provider
from storage import account_tasks, lanes
from storage.database import Connection
from storage.records import LaneKind

COUNTED = 10_000  # open tasks of an account, when several are compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One who may be asked for the task: a contract that takes the request as it is. `place`: where the body names them."""

    provider: Provider
    model: str
    prepared: Prepared
    accounts: Sequence[AccountDesk]  # any of them may take it
    place: str = "/provider"

    @property
    def names(self) -> set[str]:
        return {one.account.name for one in self.accounts}


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A request that was judged: nothing about it can be refused any more. `choices`: in order, the fallbacks behind the first."""

    request: TaskRequest
    choices: Sequence[Choice]
    webhook: Target | None


async def choose_accounts(tx: Connection, choices: Sequence[Choice]) -> list[AccountDesk]:
    """An account for each choice; one that refuses is not asked for the same again while there is another."""
    chosen: list[AccountDesk] = []
    asked: set[tuple[str, str]] = set()
    for choice in choices:
        fresh = [one for one in choice.accounts if (one.account.name, choice.model) not in asked]
        account = await _least_busy(tx, fresh or choice.accounts)
        asked.add((account.account.name, choice.model))
        chosen.append(account)
    return chosen


async def _least_busy(tx: Connection, accounts: Sequence[AccountDesk]) -> AccountDesk:
    """The account with the fewest open tasks, rather one that buys than one that is paused; of equals the first configured."""
    if len(accounts) == 1:
        return accounts[0]
    found = {one.account.name: await lanes.get(tx, LaneKind.ACCOUNT, one.account.name) for one in accounts}
    accounts = [one for one in accounts if not pauses(found[one.account.name])] or accounts
    counts = [await account_tasks.open_at_most(tx, account.account.name, bound=COUNTED) for account in accounts]
    return accounts[counts.index(min(counts))]


def candidate_of(choice: Choice, account: AccountDesk) -> Candidate:
    estimate = account.estimate(choice.prepared)
    return Candidate(
        account=account.account.name,
        provider=choice.provider.name,
        model=choice.model,
        input=orjson.dumps(choice.prepared.input).decode(),
        provider_options=orjson.dumps(choice.prepared.provider_options).decode(),
        cost_unit=estimate.unit,
        cost_estimated=money.plain(estimate.amount) if estimate.amount is not None else None,
        unit_price=account.unit_price,
    )
