"""Step 1 of the flow: buy one task, so that nothing is paid twice and nothing paid is lost.

Intent first, durable, with its deadline; then a fresh connection that refuses to write after that deadline; then whatever came
back is recorded, and what did not come back is *ambiguous*, which is resolved by evidence and never by sending again on a guess.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from service.core import ids
from service.core.lifecycle import Outcome
from service.core.observation import Claim, Observation, Reading, Source
from service.net.client import FateUnknown, NeverSent, ProviderClient
from service.pipeline.accounts import AccountDesk
from service.pipeline.recorder import Recorder
from service.providers.base import ProviderError
from service.telemetry import failpoints, metrics, traces
from service.telemetry.facts import tell
from storage.records import Lane, Task, TaskStatus

log = logging.getLogger("taskrelay.submit")

SECOND = 1_000_000
NOT_MADE = (Claim.REFUSED, Claim.DEFERRED)


class LaneLost(Exception):
    """The account's lane is somebody else's by now, who buys in its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitDesk:
    """What buying needs. `boottime`: seconds by CLOCK_BOOTTIME, which unlike the monotonic clock counts suspended time."""

    recorder: Recorder
    client: ProviderClient
    clock: Callable[[], int]
    boottime: Callable[[], float]
    callback_token: Callable[[str, str], str]  # of a provider and a submission


async def submit(
    task: Task,
    account: AccountDesk,
    desk: SubmitDesk,
    *,
    lane: Lane | None = None,
    refused_since: int | None = None,
) -> Reading | None:
    """Make one submission. Returns what the provider said, or None when the task was not ours to buy any more.

    `lane`: the account's, whose owner alone may buy; raises `LaneLost` if that is another. `refused_since`: since when its key or
    balance is refused, should it be again.
    """
    if task.status is TaskStatus.UNCONFIRMED:
        failpoints.reach("before_resend")
    # Anchored before the stored deadline is computed, so the guard at the socket is never later than what is on disk.
    deadline = desk.boottime() + account.submit_deadline_seconds
    submission_id = ids.of_submission(task.id, task.submissions + 1)
    deadline_at = desk.clock() + int(account.submit_deadline_seconds * SECOND)
    intent = Observation(
        task_id=task.id,
        source=Source.SUBMIT,
        reading=Reading(claim=Claim.INTENT),
        at=desk.clock(),
        submission_id=submission_id,
        submission_deadline_at=deadline_at,
        account=account.account.name,
        lane=lane,
    )
    failpoints.reach("before_intent_commit")
    recorded = await desk.recorder.record(intent)
    if recorded.void:
        raise LaneLost(task.account)
    if recorded.outcome is not Outcome.CHANGED or recorded.task is None or recorded.task.finished_at is not None:
        return None
    failpoints.reach("after_intent")
    asked_at = desk.clock()
    reading = await _ask(recorded.task, submission_id, account, desk, deadline)
    if reading.account_refused and refused_since is not None:
        reading = replace(reading, refused_since=refused_since)
    failpoints.reach("after_reply")
    _tell(task, reading, account, took=max(desk.clock() - asked_at, 0) / SECOND)
    answer = Observation(
        task_id=task.id,
        source=Source.SUBMIT,
        reading=reading,
        at=desk.clock(),
        submission_id=submission_id,
        submission_deadline_at=deadline_at,  # says which submission it answers: a stale answer decides nothing
        account=account.account.name,
    )
    await desk.recorder.record_surely(answer)
    failpoints.reach("after_submitted")
    return reading


def _tell(task: Task, reading: Reading, account: AccountDesk, *, took: float) -> None:
    """Of the answer to a purchase: what became of it, and who was asked. What the provider said stands in the timeline."""
    provider, name = account.provider.name, account.account.name
    named = reading.provider_task_id is not None
    outcome = reading.claim.value if reading.claim in NOT_MADE else "accepted" if named else Claim.AMBIGUOUS.value
    metrics.submissions.labels(provider, name, outcome).inc()
    metrics.submission_seconds.labels(provider).observe(took)
    traces.note("submit", task.traceparent, took, "client", task=task.id, account=name, outcome=outcome)
    level = logging.WARNING if outcome == Claim.AMBIGUOUS.value or reading.account_refused else logging.INFO
    tell(
        log,
        f"submission {outcome}",
        level,
        task=task.id,
        project=task.project_id,
        provider=provider,
        account=name,
        ms=round(took * 1000),
        error=reading.failure.code.value if reading.failure is not None else None,
    )


async def _ask(task: Task, submission_id: str, account: AccountDesk, desk: SubmitDesk, deadline: float) -> Reading:
    callback_url = None
    if account.pushes:
        token = desk.callback_token(account.provider.name, submission_id)
        callback_url = f"{account.public_url}/callbacks/{account.provider.name}/{token}"
    flow = account.provider.submit(account.account, task, callback_url)
    try:
        return await desk.client.drive(
            flow, account.channel, timeout_seconds=account.submit_deadline_seconds, deadline=deadline
        )
    except NeverSent as failure:
        return Reading(claim=Claim.DEFERRED, detail=f"never sent: {failure}")
    except (FateUnknown, ProviderError) as failure:
        return Reading(claim=Claim.AMBIGUOUS, detail=str(failure))
    except Exception:
        # An adapter's mistake says nothing of what the provider did, so it is treated as the worst.
        log.exception("submitting %s: the adapter of %s failed", task.id, account.provider.name)
        return Reading(claim=Claim.AMBIGUOUS, detail="the adapter could not read the answer")
