"""Samples: one event of each type that never happened, in the shape of those that do. They say so: `"test": true`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from service.core.care import Cause, Pause
from service.core.event_types import CATALOGUE, subject
from service.core.events import EventType, account_view, endpoint_view, render_event, task_view
from service.core.times import DAY, MINUTE, SECOND, iso
from storage.records import (
    Charge,
    Endpoint,
    EndpointStatus,
    Failure,
    FailureCode,
    Output,
    Surplus,
    Task,
    TaskStatus,
    evolve,
)

NOBODY: Final = "0" * 26  # the end of ids that no row has
SAMPLE_EVENT: Final = f"evt_{NOBODY}"

FAILURES: Final[Mapping[TaskStatus, Failure]] = {
    TaskStatus.FAILED: Failure(
        code=FailureCode.CONTENT_REJECTED,
        message="the provider's filter refused the prompt",
        provider_code="1301",
        provider_message="risk control",
    ),
    TaskStatus.EXPIRED: Failure(code=FailureCode.DEADLINE, message="no end by the deadline", retryable=True),
}
# What its life was up to there.
SEQUENCES: Final[Mapping[TaskStatus, int]] = {
    TaskStatus.UNCONFIRMED: 1,
    TaskStatus.CANCELED: 1,
    TaskStatus.PROCESSING: 2,
}


def sample(type: EventType, *, id: str, now: int, public_url: str) -> bytes:
    """The body, as it is signed and sent."""
    return render_event(id, type, now, sample_view(type, now=now, public_url=public_url), test=True)


def sample_view(type: EventType, *, now: int, public_url: str) -> Mapping[str, object]:
    """What the event is about."""
    match subject(type):
        case "task":
            task = sample_task(type, now)
            return task_view(task, public_url=public_url, output_url=task.outputs[0].url if task.outputs else None)
        case "account":
            return {**_account(type, now, public_url), **_told_of_account(type)}
        case _:
            return {**endpoint_view(_endpoint(type, now), public_url=public_url), **_told_of_endpoint(type, now)}


def sample_task(type: EventType, now: int) -> Task:
    """A task as it stands when such an event is told: everything it has then, with names that no real one has."""
    status = CATALOGUE[type].status or TaskStatus.SUCCEEDED
    ended = status not in (TaskStatus.PROCESSING, TaskStatus.UNCONFIRMED)
    bought = status not in (TaskStatus.UNCONFIRMED, TaskStatus.CANCELED)
    task = Task(
        id=f"task_{NOBODY}",
        project_id="",
        account="sample",
        provider="sample",
        model="sample",
        status=status,
        input='{"prompt":"A paper boat drifts down a gutter","duration":5}',
        metadata='{"sample":"true"}',
        provider_task_id="sample-1" if bought else None,
        failure=FAILURES.get(status),
        charge=_charge(status),
        cost_unit="unit",
        cost_estimated="4",
        sequence=SEQUENCES.get(status, 3),
        deadline_at=now if status is TaskStatus.EXPIRED else now + 118 * MINUTE,
        created_at=now - 2 * MINUTE,
        submitted_at=now - 119 * SECOND if bought else None,
        finished_at=now if ended else None,
        final_at=now if ended and status is not TaskStatus.EXPIRED else None,
        updated_at=now,
    )
    return evolve(task, **_particulars(type, now))


def _particulars(type: EventType, now: int) -> dict[str, Any]:
    """What such an event is told for."""
    output = Output(url="https://example.com/sample.mp4", duration="5", expires_at=now + 30 * DAY)
    made: dict[str, Any] = {"progress": 100, "outputs": (output,), "cost_charged": "4"}
    surplus = Surplus(provider_task_id="sample-2", account="sample", found_at=now, unit="unit", estimated="4")
    match type:
        case EventType.TASK_SUBMITTED:
            return {"phase": "queued_at_provider", "sequence": 1}
        case EventType.TASK_PROCESSING:
            return {"phase": "running", "progress": 10}
        case EventType.TASK_SUCCEEDED:
            return made
        case EventType.TASK_CONFLICT:
            return {**made, "surplus": (surplus,), "sequence": 4}
        case EventType.TASK_CORRECTED:
            return {**made, "sequence": 4}
        case _:
            return {}


def _charge(status: TaskStatus) -> Charge:
    match status:
        case TaskStatus.SUCCEEDED:
            return Charge.CONFIRMED
        case TaskStatus.PROCESSING:
            return Charge.ESTIMATED
        case TaskStatus.CANCELED | TaskStatus.FAILED:
            return Charge.NONE
        case _:
            return Charge.POSSIBLE


def _account(type: EventType, now: int, public_url: str) -> Mapping[str, object]:
    refused = Pause(since=now, code=FailureCode.CREDENTIALS_REFUSED, reason="the provider refuses the key")
    return account_view(
        "sample",
        "sample",
        pauses={Cause.CREDENTIALS: refused} if type is EventType.ACCOUNT_PAUSED else {},
        silent_since=now if type is EventType.ACCOUNT_CALLBACKS_MISSING else None,
        public_url=public_url,
    )


def _told_of_account(type: EventType) -> dict[str, object]:
    return {"ends_without_push": 5} if type is EventType.ACCOUNT_CALLBACKS_MISSING else {"cause": Cause.CREDENTIALS}


def _endpoint(type: EventType, now: int) -> Endpoint:
    off = type is EventType.ENDPOINT_DISABLED
    return Endpoint(
        id=f"ep_{NOBODY}",
        project_id="",
        url="https://example.com/hooks",
        description="sample",
        status=EndpointStatus.DISABLED if off else EndpointStatus.ACTIVE,
        disabled_reason="HTTP 410: the receiver asked for no more" if off else None,
        created_at=now - DAY,
        updated_at=now,
    )


def _told_of_endpoint(type: EventType, now: int) -> dict[str, object]:
    if type is EventType.ENDPOINT_DISABLED:
        return {"since": iso(now)}
    return {"failing_since": iso(now - 3 * DAY), "patience_used": 50, "reason": "HTTP 500"}
