"""Before step 1: take a request in. Everything is judged before anything is stored; then task, timeline and arrival in one unit."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import orjson

from service.core import fallback
from service.core.request import Fault, Invalid, TaskRequest, parse, shown
from service.net.guard import Blocked, Policy, Target
from service.pipeline.accounts import AccountDesk
from service.pipeline.choosing import Accepted, Choice, candidate_of, choose_accounts
from service.pipeline.ledger import LaneKey
from service.pipeline.spending import Refused, admit
from service.providers.base import Provider
from service.telemetry import context, failpoints, metrics, traces
from service.telemetry.facts import tell
from storage import callbacks, endpoints, lanes, tasks
from storage.database import Connection, Database, Unit, behind
from storage.errors import Duplicate
from storage.records import Endpoint, Lane, LaneKind, OnAmbiguous, Task, TaskStatus, TimelineEntry, evolve

log = logging.getLogger("taskrelay.task")

T = TypeVar("T")

SECOND = 1_000_000
COUNTED = 500  # of an account's open jobs, for the answer alone: 100 take SQLite 12 µs
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
class Created:
    """A task that was stored, and its account at that moment: its lane, and how many jobs are open, counted up to some hundreds."""

    task: Task
    lane: Lane | None
    open_jobs: int = 0


def read(body: object, desk: CreateDesk) -> TaskRequest:
    """A request from a decoded body. Raises `Invalid` with every fault: what has no shape, and what the contract adds."""
    try:
        return parse(body)
    except Invalid as shapeless:
        if shapeless.rest is not None:
            try:
                judge(shapeless.rest, desk)
            except Invalid as unfit:
                told = {fault.pointer for fault in shapeless.faults}
                added = [fault for fault in unfit.faults if fault.pointer not in told]
                raise Invalid([*shapeless.faults, *added]) from None
        raise


async def create(
    request: TaskRequest,
    project_id: str,
    desk: CreateDesk,
    *,
    also: Callable[[Connection, Created], Awaitable[None]] | None = None,
) -> Created:
    """Store a new task, durably. Raises `Invalid` with every fault, `ReferenceTaken`, `Refused`, or `StorageError`.

    `also`: what is to be stored together with it.
    """
    accepted = judge(request, desk)
    now = desk.clock()
    task_id, endpoint_id = desk.mint("task"), desk.mint("ep")
    span = traces.begin("create", context.traceparent(), "server", task=task_id)
    trace = span.traceparent if span is not None else context.traceparent()

    def draft(accounts: Sequence[AccountDesk]) -> Task:
        return evolve(task_of(accepted, accounts, task_id, project_id, None, now), traceparent=trace)

    async def unit(tx: Connection) -> Created:
        if request.reference is not None:
            existing = await tasks.by_reference(tx, project_id, request.reference)
            if existing is not None:
                return Created(task=existing, lane=None)
        accounts = await choose_accounts(tx, accepted.choices)
        first = accounts[0]
        policy = await lanes.policy(tx, project_id, first.account.name, most=min(first.max_open_tasks, COUNTED))
        task = draft(accounts) if not policy.booking else await admit(tx, accepted.choices, accounts, draft, now)
        lane, open_jobs = policy.lane, policy.open_jobs
        if task.account != first.account.name:
            lane, open_jobs = await lanes.get(tx, LaneKind.ACCOUNT, task.account), 0
        webhook_id = await _hidden_endpoint(tx, project_id, accepted.webhook, endpoint_id, now)
        task = evolve(task, on_ambiguous=policy.on_ambiguous, webhook_endpoint_id=webhook_id)
        await tasks.insert(tx, task)
        await callbacks.note(tx, [_created(task)])
        await lanes.arrive(tx, {(LaneKind.ACCOUNT, task.account): now})
        made = Created(task=task, lane=lane, open_jobs=open_jobs)
        if also is not None:
            await also(tx, made)
        failpoints.reach("before_create_commit")
        return made

    try:
        made = await _write(desk.database, unit, project_id, request.reference or "")
    finally:
        if span is not None:
            span.end()
    failpoints.reach("after_create")
    if made.task.id != task_id:
        raise ReferenceTaken(str(request.reference), made.task)
    desk.ring((LaneKind.ACCOUNT, made.task.account), now)
    _tell(made.task)
    return made


def _tell(task: Task) -> None:
    metrics.tasks_created.labels(task.provider, task.model).inc()
    said = {"task": task.id, "project": task.project_id, "provider": task.provider, "account": task.account}
    tell(log, "task created", model=task.model, **said)


async def _write(database: Database, unit: Unit[Created], *locks: str) -> Created:
    """Raises `Refused` once the unit is over. `locks`: its project, then its reference, which two replicas may want at once."""

    async def answered(tx: Connection) -> Created | Refused:
        try:
            return await unit(tx)
        except Refused as refused:  # an answer and no failure: what runs in the same group need not run again
            return refused

    answer = await _despite_rivals(database, behind(answered, *locks))
    if isinstance(answer, Refused):
        raise answer
    return answer


async def _despite_rivals(database: Database, unit: Unit[T]) -> T:
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
    choices: list[Choice] = []
    for place, wish in _wishes(request):
        found: list[Fault] = []
        choice = _choose(wish, place, desk, found)
        if choice is not None and place and _exhausted(choice, choices):
            detail = "This asks the same account for the same again, right after it refused. Leave it out."
            found.append(Fault(pointer="", detail=detail))
        faults += [Fault(pointer=place + fault.pointer, detail=fault.detail) for fault in found]
        choices += [choice] if choice is not None else []
    webhook: Target | None = None
    if request.webhook_url is not None:
        try:
            webhook = desk.policy.judge_url(request.webhook_url)
        except Blocked as blocked:
            faults.append(Fault(pointer="/webhook_url", detail=blocked.reason))
    if faults:
        raise Invalid(faults)
    return Accepted(request=request, choices=choices, webhook=webhook)


def _wishes(request: TaskRequest) -> Iterator[tuple[str, TaskRequest]]:
    """The request as each of those who may be asked would get it, with the place in the body where it stands."""
    yield "", request
    for index, other in enumerate(request.fallbacks):
        yield (
            f"/fallbacks/{index}",
            replace(
                request,
                provider=other.provider,
                account=other.account,
                model=other.model,
                provider_options=other.provider_options,
                fallbacks=(),
            ),
        )


def _choose(wish: TaskRequest, place: str, desk: CreateDesk, faults: list[Fault]) -> Choice | None:
    provider, accounts = who(wish.provider, wish.account, desk, faults)
    if provider is None:
        return None
    try:
        prepared = provider.prepare(wish)
    except Invalid as invalid:
        faults += invalid.faults
        return None
    place += "/provider" if wish.account is None else "/account"
    return Choice(provider=provider, model=wish.model, prepared=prepared, accounts=accounts, place=place)


def _exhausted(choice: Choice, before: Sequence[Choice]) -> bool:
    """Whether every account of the choice was asked for exactly this already."""
    names = choice.names
    rivals = [
        one for one in before if one.names & names and (one.model, one.prepared) == (choice.model, choice.prepared)
    ]
    return bool(names) and len(rivals) >= len(names)


def who(
    provider_name: str | None, account: str | None, desk: CreateDesk, faults: list[Fault]
) -> tuple[Provider | None, Sequence[AccountDesk]]:
    """The contract that is asked for, known even when no account of it may be used, and the accounts that may."""
    if account is not None:
        return _named_account(account, desk, faults)
    name = provider_name or ""
    provider = desk.providers.get(name)
    if provider is None:
        detail = f'There is no provider "{shown(name)}". {_hint(name, desk.providers)}'
        faults.append(Fault(pointer="/provider", detail=detail))
        return None, ()
    accounts = [one for one in desk.accounts.values() if one.provider.name == name]
    if not accounts:
        off = [one for one, of in desk.disabled.items() if of == name]
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


def task_of(
    accepted: Accepted,
    accounts: Sequence[AccountDesk],
    task_id: str,
    project_id: str,
    webhook_id: str | None,
    now: int,
) -> Task:
    """The new task at its first choice, with the others behind it."""
    request = accepted.request
    first, *others = map(candidate_of, accepted.choices, accounts)
    return Task(
        id=task_id,
        project_id=project_id,
        account=first.account,
        provider=first.provider,
        model=first.model,
        status=TaskStatus.QUEUED,
        input=first.input,
        provider_options=first.provider_options,
        fallbacks=fallback.dump(others),
        metadata=_json(request.metadata),
        reference=request.reference,
        webhook_endpoint_id=webhook_id,
        webhook_url=request.webhook_url,
        webhook_events=",".join(request.webhook_events) if request.webhook_events is not None else None,
        cost_unit=first.cost_unit,
        cost_estimated=first.cost_estimated,
        unit_price=first.unit_price,
        due_at=now,
        deadline_at=now + request.deadline_seconds * SECOND,
        created_at=now,
        updated_at=now,
    )


def _created(task: Task) -> TimelineEntry:
    told: dict[str, object] = {"provider": task.provider, "account": task.account, "model": task.model}
    if task.on_ambiguous is not OnAmbiguous.HOLD:
        told["on_ambiguous"] = task.on_ambiguous
    if others := fallback.load(task.fallbacks):
        told["fallbacks"] = [{"provider": o.provider, "account": o.account, "model": o.model} for o in others]
    return TimelineEntry(
        task_id=task.id,
        version=task.version,
        ordinal=0,
        at=task.created_at,
        kind="created",
        source="api",
        detail=_json(told),
    )


def _json(value: Mapping[str, object]) -> str:
    return orjson.dumps(value).decode()
