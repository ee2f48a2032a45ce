"""What an attempt's result means for its delivery and its endpoint, and the headers an attempt carries.

The rules follow Standard Webhooks 1.0.0 ("Deliverability and reliability").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from service.core.schedule import RETRY_SCHEDULE, retry_after_at, retry_at
from service.core.times import MINUTE, SECOND
from storage.records import DeliveryStatus

BLOCKED: Final = "blocked"  # our own guard refused the address; a resolver's failure is not this
RENDER: Final = "render"  # the request could not be made: nothing left this machine
RENDERINGS: Final = 3  # attempts at most for what cannot be made
TIMEOUT: Final = "timeout"

BUSY: Final = frozenset({429, 502, 503, 504})
BUSY_PAUSE: Final = 5 * SECOND  # for an endpoint that is busy and does not say how long
SHARED_PAUSE: Final = MINUTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What to do. `due_at`: next attempt of a pending delivery. `slow_until`: nothing goes to the endpoint before."""

    status: DeliveryStatus
    due_at: int | None = None
    disable_endpoint: bool = False
    slow_until: int | None = None
    reason: str | None = None


DELIVERED: Final = Verdict(status=DeliveryStatus.DELIVERED)


def judge(
    *,
    status_code: int | None,
    error_class: str | None = None,
    retry_after: str | None = None,
    attempts_made: int,
    now: int,
    jitter: float,
    created_at: int,
    hidden: bool = False,
    moved: bool = False,
    spent: int = 0,
    schedule: Sequence[float] = RETRY_SCHEDULE,
) -> Verdict:
    """The verdict on one attempt, itself included in `attempts_made`. The first `spent` belong to an earlier schedule.

    `created_at`: when the schedule began. `hidden`: the endpoint carries the per-task URLs of one origin. It is never
    disabled, and one URL's wish to be left alone slows the others by a minute at most. `moved`: who answered is not where the
    endpoint is any more, so its wish to be left alone, for ever or for a while, is a failure like any other.
    """
    if status_code is not None and 200 <= status_code <= 299:
        return DELIVERED  # whatever the body, and even if reading it failed
    if error_class == BLOCKED:
        return Verdict(
            status=DeliveryStatus.EXHAUSTED,
            reason="blocked: the address is not one we may call. Change the URL, or allow it in TASKRELAY_EGRESS__ALLOW",
        )
    if status_code == 410 and not moved:
        return Verdict(
            status=DeliveryStatus.CANCELED,
            disable_endpoint=not hidden,
            reason="HTTP 410: the receiver asked for no more",
        )
    if error_class == RENDER and attempts_made >= RENDERINGS:
        return Verdict(
            status=DeliveryStatus.QUARANTINED, reason=f"the request could not be made in {attempts_made} attempts"
        )
    wish = retry_after_at(retry_after, now) if not moved else None
    reason = explain(status_code, error_class)
    busy = (status_code in BUSY or error_class == TIMEOUT) and not moved
    slow_until = wish or (now + BUSY_PAUSE if busy else None)
    if hidden and slow_until is not None:
        slow_until = min(slow_until, now + SHARED_PAUSE)
    due_at = retry_at(
        attempts_made - spent, now=now, jitter=jitter, retry_after_at=wish, created_at=created_at, schedule=schedule
    )
    if due_at is None:
        return Verdict(
            status=DeliveryStatus.EXHAUSTED,
            slow_until=slow_until,
            reason=f"{reason}; gave up at attempt {attempts_made}",
        )
    return Verdict(status=DeliveryStatus.PENDING, due_at=due_at, slow_until=slow_until, reason=reason)


def explain(status_code: int | None, error_class: str | None) -> str:
    """What went wrong, in words for the owner of the endpoint."""
    if status_code is None:
        return error_class or "no answer"
    if 300 <= status_code <= 399:
        return f"HTTP {status_code}: redirects are not followed. Change the endpoint's URL to where it leads"
    return f"HTTP {status_code}"


def headers_for(
    event_id: str,
    timestamp: int,
    signature: str,
    attempt: int,
    event_type: str,
    user_agent: str,
    content_type: str = "application/json",
) -> dict[str, str]:
    """The headers of one attempt. The last three are hints and not signed."""
    return {
        "content-type": content_type,
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature,
        "taskrelay-event": event_type,
        "taskrelay-attempt": str(attempt),
        "user-agent": user_agent,
    }
