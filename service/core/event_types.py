"""The catalogue of events: what each type tells, when it is sent, who hears of it unasked.

Holds everything that is in `EventType`; what the bodies look like stands in `event_schema`, which tests hold against what is rendered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from service.core.events import ENDS, EventType
from storage.records import TaskStatus, light


@light(frozen=True, slots=True, kw_only=True)
class Kind:
    """One type. `status`: what its task says then, where that is always the same. `reserved`: nothing sends it in this release."""

    tells: str
    when: str
    status: TaskStatus | None = None
    reserved: bool = False


CATALOGUE: Final[Mapping[EventType, Kind]] = {
    EventType.TASK_SUBMITTED: Kind(
        tells="The provider took the task.",
        when="Once, when its job at the provider is known: by the answer to the purchase, a push, or a look-up.",
        status=TaskStatus.PROCESSING,
    ),
    EventType.TASK_PROCESSING: Kind(
        tells="The provider works on it.",
        when="Once, when it leaves the provider's queue; not at all when its end is heard of first.",
        status=TaskStatus.PROCESSING,
    ),
    EventType.TASK_SUCCEEDED: Kind(
        tells="It has an output.",
        when="Once, at its end. With data.late true when it had ended otherwise, without finality, before.",
        status=TaskStatus.SUCCEEDED,
    ),
    EventType.TASK_FAILED: Kind(
        tells="It was refused, or it failed; data.error says how.",
        when="At its end. Twice at most: with data.final false when nobody knows for sure, and true when the provider said so.",
        status=TaskStatus.FAILED,
    ),
    EventType.TASK_CANCELED: Kind(
        tells="It was taken back before it was bought.",
        when="Once, when it is canceled. Nothing is charged.",
        status=TaskStatus.CANCELED,
    ),
    EventType.TASK_EXPIRED: Kind(
        tells="Its deadline passed.",
        when="Once, at its deadline or after a last look. With data.final false a late verdict may follow.",
        status=TaskStatus.EXPIRED,
    ),
    EventType.TASK_UNCONFIRMED: Kind(
        tells="Its purchase got no clear answer.",
        when="Whenever that is so. It is looked for, held, or settled by a person.",
        status=TaskStatus.UNCONFIRMED,
    ),
    EventType.TASK_CONFLICT: Kind(
        tells="The provider contradicts what is settled, or a job too many was found (data.cost.surplus).",
        when="Once for each contradiction. What the task says stays as it is.",
    ),
    EventType.TASK_CORRECTED: Kind(
        tells="A person changed an end that was final.",
        when="Never in this release, in which nothing changes an end that is final.",
        reserved=True,
    ),
    EventType.ACCOUNT_PAUSED: Kind(
        tells="Nothing more is bought through an account; data.cause says why.",
        when="When a person pauses it, and when its provider refuses its key or balance. Not to an endpoint that names * alone.",
    ),
    EventType.ACCOUNT_RESUMED: Kind(
        tells="An account buys again.",
        when="When the last of what stopped it is over.",
    ),
    EventType.ACCOUNT_CALLBACKS_MISSING: Kind(
        tells="An account's provider does not push, though it should.",
        when="When the last of its tasks ended by polling alone; again only after pushes have been seen.",
    ),
    EventType.ENDPOINT_FAILING: Kind(
        tells="An endpoint has failed for long, or its address may not be called.",
        when="At 50, 70 and 90 % of the way to being disabled; at once when its address may not be called. Never to itself.",
    ),
    EventType.ENDPOINT_DISABLED: Kind(
        tells="An endpoint is not sent to any more; data.disabled_reason says why.",
        when="When it answers 410, its lease ends, or five days pass without a success. Never to itself.",
    ),
}


def unasked(type: EventType) -> bool:
    """Whether an endpoint hears of it that names no types."""
    return type in ENDS


def subject(type: EventType) -> str:
    """What it is about: task, account or endpoint."""
    return type.value.partition(".")[0]
