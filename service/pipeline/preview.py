"""A dry run: what creating a task would send and cost. Judged like the real thing; nothing is stored, nothing is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.core.events import money_view
from service.core.fallback import Candidate
from service.core.request import TaskRequest
from service.net.client import MASK, Preview, ProviderClient
from service.net.guard import NetError
from service.pipeline import books
from service.pipeline.accounts import AccountDesk
from service.pipeline.books import Balance
from service.pipeline.choosing import Accepted, candidate_of, choose_accounts
from service.pipeline.create import CreateDesk, ReferenceTaken, judge, task_of
from service.pipeline.spending import priced, refuse
from service.providers.base import Ask
from storage import tasks
from storage.database import Connection
from storage.records import Task, evolve

# Where the id of the task would stand: a real one is only minted for a task that is stored.
PLACEHOLDER = "task_" + "0" * 26


@dataclass(frozen=True, slots=True, kw_only=True)
class Bid:
    """What one of those who may be asked would get, and what it would cost. `request` is None when it could not be sent: `why`."""

    candidate: Candidate
    request: Preview | None
    why: str | None = None

    @property
    def cost(self) -> dict[str, object]:
        one = self.candidate
        money = money_view(one.cost_estimated, None, one.unit_price, one.cost_unit)
        return {"unit": one.cost_unit, "estimated": one.cost_estimated, "charged": None, "money": money}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The bids in order, and how the project's budget stands before them; None where it has none."""

    bids: list[Bid]
    budget: object


async def preview(request: TaskRequest, project_id: str, desk: CreateDesk, client: ProviderClient) -> Trial:
    """The purchase of each choice, in order. Raises what `create` raises."""
    accepted, now = judge(request, desk), desk.clock()

    def draft(accounts: Sequence[AccountDesk]) -> Task:
        return task_of(accepted, accounts, PLACEHOLDER, project_id, None, now)

    async def unit(tx: Connection) -> tuple[Task | None, Sequence[AccountDesk], Balance]:
        taken = None
        if request.reference is not None:
            taken = await tasks.by_reference(tx, project_id, request.reference)
        balance = await books.read(tx, project_id)
        accounts: Sequence[AccountDesk] = await choose_accounts(tx, accepted.choices)
        if taken is None:
            accounts = await priced(tx, balance.allowance.budget, accepted.choices, accounts)
        return taken, accounts, balance

    taken, accounts, balance = await desk.database.read(unit)
    if taken is not None:
        raise ReferenceTaken(str(request.reference), taken)
    task = draft(accounts)
    refuse(balance, task, now)
    bids = [_bid(accepted, place, account, task, client) for place, account in enumerate(accounts)]
    return Trial(bids=bids, budget=balance.view(now)["budget"])


def _bid(accepted: Accepted, place: int, account: AccountDesk, task: Task, client: ProviderClient) -> Bid:
    """From the adapter's own purchase: the first thing it asks is the request, and its flow is left there."""
    candidate = candidate_of(accepted.choices[place], account)
    task = evolve(
        task,
        account=candidate.account,
        provider=candidate.provider,
        model=candidate.model,
        input=candidate.input,
        provider_options=candidate.provider_options,
    )
    callback_url = f"{account.public_url}/callbacks/{account.provider.name}/{MASK}" if account.pushes else None
    flow = account.provider.submit(account.account, task, callback_url)
    try:
        ask: Ask = next(flow)
        return Bid(candidate=candidate, request=client.preview(ask, account.channel))
    except StopIteration as ended:
        return Bid(candidate=candidate, request=None, why=ended.value.detail)
    except NetError as refused:
        return Bid(candidate=candidate, request=None, why=str(refused))
    finally:
        flow.close()
