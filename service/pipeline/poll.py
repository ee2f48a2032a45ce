"""Step 2' of the flow: ask the provider. Polls, look-ups of unconfirmed purchases, and the queries that pushes ring for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from service.core.observation import Claim, Observation, Reading, Source
from service.core.times import SECOND
from service.net.client import ProviderClient
from service.net.guard import Blocked, NetError
from service.pipeline.accounts import AccountDesk
from service.pipeline.recorder import Recorder
from service.providers.base import Clues, ProviderError
from service.telemetry import failpoints, metrics
from storage.records import Task

log = logging.getLogger("taskrelay.poll")

NOTHING: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class PollDesk:
    """What asking needs."""

    recorder: Recorder
    client: ProviderClient
    clock: Callable[[], int]
    read_token: Callable[[str, str], str | None]  # the submission that a provider's callback token names


async def query(
    tasks: Sequence[Task],
    account: AccountDesk,
    desk: PollDesk,
    *,
    prompted_by: Mapping[str, Claim],
    heard: Mapping[str, int] = NOTHING,
) -> list[Reading]:
    """Ask after bound tasks in one request and record the answers. `prompted_by`, `heard`: task id → what a push claimed, and when."""
    asked_at = desk.clock()
    try:
        found = await desk.client.drive(
            account.provider.query(account.account, tasks), account.channel, timeout_seconds=account.query_seconds
        )
    except Exception as failure:
        reading = _failed(failure, account)
        found = {task.id: reading for task in tasks}
    failpoints.reach("after_query")
    readings = [found.get(task.id, Reading(claim=Claim.ABSENT)) for task in tasks]
    _count("poll", account, readings, desk.clock() - asked_at)
    await desk.recorder.record_all(
        [
            Observation(
                task_id=task.id,
                source=Source.POLL,
                reading=reading,
                at=asked_at,
                prompted_by=prompted_by.get(task.id),
                heard_at=heard.get(task.id),
                account=account.account.name,
            )
            for task, reading in zip(tasks, readings, strict=True)
        ]
    )
    return readings


async def look_up(task: Task, account: AccountDesk, desk: PollDesk, clues: Clues) -> Reading:
    """Search for a purchase of unknown fate and record the answer."""
    asked_at = desk.clock()
    try:
        reading = await desk.client.drive(
            account.provider.look_up(account.account, task, clues),
            account.channel,
            timeout_seconds=account.query_seconds,
        )
    except Exception as failure:
        reading = _failed(failure, account)
    failpoints.reach("after_look_up")
    _count("look_up", account, [reading], desk.clock() - asked_at)
    await desk.recorder.record(
        Observation(task_id=task.id, source=Source.LOOK_UP, reading=reading, at=asked_at, account=account.account.name)
    )
    failpoints.reach("after_look_up_stored")
    return reading


def _count(way: str, account: AccountDesk, readings: Sequence[Reading], took: int) -> None:
    provider, name = account.provider.name, account.account.name
    metrics.query_seconds.labels(provider, way).observe(max(took, 0) / SECOND)
    for reading in readings:
        metrics.queries.labels(provider, name, way, reading.claim.value).inc()


def _failed(failure: Exception, account: AccountDesk) -> Reading:
    """A query that did not work out says nothing of any job."""
    if not isinstance(failure, NetError | ProviderError):
        log.error("asking %s: its adapter failed", account.account.name, exc_info=failure)
    if isinstance(failure, Blocked):
        metrics.egress_blocked.labels("provider").inc()
    return Reading(claim=Claim.UNREACHABLE, detail=str(failure) or type(failure).__name__)
