"""Before step 1: take a request in. Everything is judged before anything is stored; then task, timeline and arrival in one unit."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import orjson

from service.core import money
from service.core.request import Fault, Invalid, TaskRequest, shown
from service.net.guard import Blocked, Policy, Target
from service.pipeline.accounts import AccountDesk
from service.pipeline.record import LaneKey
from service.providers.base import Prepared, Provider
from service.telemetry import failpoints
from storage import callbacks, endpoints, lanes, tasks
from storage.database import Connection, Database
from storage.errors import Duplicate
from storage.records import Endpoint, LaneKind, Task, TaskStatus, TimelineEntry

SECOND = 1_000_000
COUNTED = 10_000  # open tasks of an account, when several are compared
TRIES = 3


class ReferenceTaken(Exception):
    """The client's own id belongs to another task, which is open, succeeded, or ended without finality."""

    def __init__(self, reference: str, existing: Task) -> None:
        super().__init__(f"{shown(reference)} belongs to {existing.id}")
        self.reference = reference
        self.existing = existing


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateDesk:
    """What creating needs. `disabled`: accounts that are configured but off, with their provider's name.

    `ring`: tells the account's lane of the new task, after the commit.
    """

    database: Database
    providers: Mapping[str, Provider]
    accounts: Mapping[str, AccountDesk]
    disabled: Mapping[str, str]
    policy: Policy
    clock: Callable[[], int]
    mint: Callable[[str], str]
    ring: Callable[[LaneKey, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A request that was judged: nothing about it can be refused any more."""

    request: TaskRequest
    provider: Provider
    prepared: Prepared
    accounts: Sequence[AccountDesk]  # any of them may take it
    webhook: Target | None


async def create(request: TaskRequest, project_id: str, desk: CreateDesk) -> Task:
    """Store a new task, durably. Raises `Invalid` with every fault, `ReferenceTaken`, or `StorageError`."""
    accepted = judge(request, desk)
    now = desk.clock()
    task_id, endpoint_id = desk.mint("task"), desk.mint("ep")

    async def unit(tx: Connection) -> Task:
        if request.reference is not None:
            existing = await tasks.by_reference(tx, project_id, request.reference)
            if existing is not None:
                return existing
        account = await _least_busy(tx, accepted.accounts)
        webhook_id = await _hidden_endpoint(tx, project_id, accepted.webhook, endpoint_id, now)
        task = _task(accepted, account, task_id, project_id, webhook_id, now)
        await tasks.insert(tx, task)
        await callbacks.note(tx, [_created(task)])
        await lanes.arrive(tx, {(LaneKind.ACCOUNT, task.account): now})
        return task

    task = await _write(desk.database, unit)
    failpoints.reach("after_create")
    if task.id != task_id:
        raise ReferenceTaken(str(request.reference), task)
    desk.ring((LaneKind.ACCOUNT, task.account), now)
    return task


async def _write(database: Database, unit: Callable[[Connection], Awaitable[Task]]) -> Task:
    """Two requests may find a reference free in the same moment: the loser looks again and finds the winner."""
    for _ in range(TRIES - 1):
        try:
            return await database.write(unit)
        except Duplicate as error:
            if "reference" not in error.constraint:
                raise
    return await database.write(unit)


def judge(request: TaskRequest, desk: CreateDesk) -> Accepted:
    """Hold a request against its contract, our accounts and our policy, and name every fault at once."""
    faults: list[Fault] = []
    provider, accounts = _who(request, desk, faults)
    prepared: Prepared | None = None
    if provider is not None:
        try:
            prepared = provider.prepare(request)
        except Invalid as invalid:
            faults += invalid.faults
    webhook: Target | None = None
    if request.webhook_url is not None:
        try:
            webhook = desk.policy.judge_url(request.webhook_url)
        except Blocked as blocked:
            faults.append(Fault(pointer="/webhook_url", detail=blocked.reason))
    if faults or provider is None or prepared is None:
        raise Invalid(faults)
    return Accepted(request=request, provider=provider, prepared=prepared, accounts=accounts, webhook=webhook)


def _who(request: TaskRequest, desk: CreateDesk, faults: list[Fault]) -> tuple[Provider | None, Sequence[AccountDesk]]:
    """The contract that is asked for, known even when no account of it may be used, and the accounts that may."""
    if request.account is not None:
        return _named_account(request.account, desk, faults)
    name = request.provider or ""
    provider = desk.providers.get(name)
    if provider is None:
        detail = f'There is no provider "{shown(name)}". {_hint(name, desk.providers)}'
        faults.append(Fault(pointer="/provider", detail=detail))
        return None, ()
    accounts = [account for account in desk.accounts.values() if account.provider.name == name]
    if not accounts:
        off = [account for account, of in desk.disabled.items() if of == name]
        detail = _switched_off(off[0]) if off else f"No account of {name} is configured. {_how_to_configure(name)}"
        faults.append(Fault(pointer="/provider", detail=detail))
    return provider, accounts


def _named_account(name: str, desk: CreateDesk, faults: list[Fault]) -> tuple[Provider | None, Sequence[AccountDesk]]:
    account = desk.accounts.get(name)
    if account is not None:
        return account.provider, [account]
    if name in desk.disabled:
        faults.append(Fault(pointer="/account", detail=_switched_off(name)))
        return desk.providers.get(desk.disabled[name]), ()
    detail = f'There is no account "{shown(name)}". '
    detail += _hint(name, desk.accounts) if desk.accounts else "None is configured."
    if name in desk.providers:
        detail += f" {_how_to_configure(name)}"
    faults.append(Fault(pointer="/account", detail=detail))
    return None, ()


def _hint(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name[:40], list(known), n=1)
    return f"Did you mean {close[0]}?" if close else f"There is {', '.join(sorted(known)[:20])}."


def _how_to_configure(provider: str) -> str:
    return f"Whoever runs taskrelay sets TASKRELAY_ACCOUNTS__{provider.upper()}__API_KEY and starts it again."


def _switched_off(account: str) -> str:
    return (
        f"The account {account} is switched off. "
        f"Whoever runs taskrelay sets TASKRELAY_ACCOUNTS__{account.upper()}__ENABLED=true and starts it again."
    )


async def _least_busy(tx: Connection, accounts: Sequence[AccountDesk]) -> AccountDesk:
    """The account with the fewest open tasks; of equals the first configured."""
    if len(accounts) == 1:
        return accounts[0]
    counts = [await tasks.open_at_most(tx, account.account.name, bound=COUNTED) for account in accounts]
    return accounts[counts.index(min(counts))]


async def _hidden_endpoint(
    tx: Connection, project_id: str, webhook: Target | None, endpoint_id: str, now: int
) -> str | None:
    """The endpoint that carries the project's per-task URLs of one origin, so that they share one lane."""
    if webhook is None:
        return None
    found = await endpoints.hidden(tx, project_id, webhook.origin)
    if found is None:
        hidden = Endpoint(
            id=endpoint_id, project_id=project_id, url=webhook.origin, hidden=True, created_at=now, updated_at=now
        )
        await endpoints.insert(tx, hidden)
        found = await endpoints.hidden(tx, project_id, webhook.origin)
    return found.id if found is not None else None


def _task(
    accepted: Accepted, account: AccountDesk, task_id: str, project_id: str, webhook_id: str | None, now: int
) -> Task:
    request, prepared = accepted.request, accepted.prepared
    estimate = prepared.estimate
    return Task(
        id=task_id,
        project_id=project_id,
        account=account.account.name,
        provider=accepted.provider.name,
        model=request.model,
        status=TaskStatus.QUEUED,
        input=_json(prepared.input),
        provider_options=_json(prepared.provider_options),
        metadata=_json(request.metadata),
        reference=request.reference,
        webhook_endpoint_id=webhook_id,
        webhook_url=request.webhook_url,
        webhook_events=",".join(request.webhook_events) if request.webhook_events is not None else None,
        cost_unit=estimate.unit,
        cost_estimated=money.plain(estimate.amount) if estimate.amount is not None else None,
        unit_price=account.unit_price,
        due_at=now,
        deadline_at=now + request.deadline_seconds * SECOND,
        created_at=now,
        updated_at=now,
    )


def _created(task: Task) -> TimelineEntry:
    detail = _json({"provider": task.provider, "account": task.account, "model": task.model})
    return TimelineEntry(
        task_id=task.id,
        version=task.version,
        ordinal=0,
        at=task.created_at,
        kind="created",
        source="api",
        detail=detail,
    )


def _json(value: Mapping[str, object]) -> str:
    return orjson.dumps(value).decode()
