"""What happens to a delivery next, when, and why; and what a person can do where nothing happens by itself. Pure.

Said for people who wait, as `core.following` does of tasks: each answer is what the rows make the endpoint's lane do.
"""

from __future__ import annotations

from typing import assert_never

from service.core.delivery import BLOCKED, explain
from service.core.following import Next
from service.core.schedule import JITTER, Breaker, schedule_of
from service.core.times import SECOND, iso
from storage.records import Attempt, Delivery, DeliveryStatus, EndpointStatus, Party

ATTEMPT, WAIT, CANCEL, NONE = "attempt", "wait", "cancel", "none"


def next_of(delivery: Delivery, last: Attempt | None, party: Party | None, *, now: int, test: bool = False) -> Next:
    """`last`: its latest attempt, where that is still known. `party`: None when there is no such endpoint. `test`: of a sample."""
    match delivery.status:
        case DeliveryStatus.PENDING:
            return _pending(delivery, last, party, now)
        case DeliveryStatus.DELIVERED:
            answer = "2xx"
            if last is not None and last.status_code is not None:
                answer = f"{last.status_code} at {iso(last.at)}"
            return Next(action=NONE, at=None, reason=f"It has it: attempt {delivery.attempts} was answered {answer}.")
        case DeliveryStatus.EXHAUSTED:
            return Next(
                action=NONE, at=None, reason=f"{_gave_up(delivery, last)} {again(delivery, party, now, test=test)}"
            )
        case DeliveryStatus.CANCELED:
            return Next(
                action=NONE, at=None, reason=f"{_canceled(last, party)} {again(delivery, party, now, test=test)}"
            )
        case DeliveryStatus.QUARANTINED:
            reason = (
                f"The request could not be made, {_times(delivery)}: our mistake, please report it. Nothing was sent."
            )
            return Next(action=NONE, at=None, reason=f"{reason} {again(delivery, party, now, test=test)}")
        case _:
            assert_never(delivery.status)


def again(delivery: Delivery, party: Party | None, now: int, *, test: bool = False) -> str:
    """What a person can do to have it sent after all."""
    retry = f"POST /v1/deliveries/{delivery.id}/retry"
    if party is None or party.deleted_at is not None:
        return f"It cannot be sent there any more; GET /v1/events/{delivery.event_id} still has it."
    if test:
        return f"It was a test: POST /v1/endpoints/{party.id}/test makes another."
    resume = f"POST /v1/endpoints/{party.id}/resume"
    if _lease_over(party, now):
        return f"To send it again: PATCH /v1/endpoints/{party.id} with a later expires_at, {resume}, then {retry}."
    if party.status is EndpointStatus.DISABLED:
        return f"To send it again: {resume}, then {retry}."
    return f"To send it again: {retry}."


def may_retry(delivery: Delivery, party: Party | None, now: int) -> bool:
    """Whether a person can have it sent again, or sooner, as its endpoint is now."""
    if delivery.status is DeliveryStatus.DELIVERED or not _there(party) or party is None:
        return False
    return party.status is not EndpointStatus.DISABLED and not _lease_over(party, now)


def may_resume(party: Party | None) -> bool:
    """Whether its endpoint stands still and a person can set it going."""
    return party is not None and _there(party) and not party.hidden and party.status is not EndpointStatus.ACTIVE


def _there(party: Party | None) -> bool:
    return party is not None and party.deleted_at is None


def _pending(delivery: Delivery, last: Attempt | None, party: Party | None, now: int) -> Next:
    if party is None or party.deleted_at is not None or party.status is EndpointStatus.DISABLED:
        # Such a delivery is canceled in the transaction that ends its endpoint; the audit lists one that was not.
        reason = f"Its endpoint is {_state(party)}, so nobody sends it; please report this."
        return Next(action=NONE, at=None, reason=f"{reason} {again(delivery, party, now)}")
    if _lease_over(party, now):
        reason = "The lease of its endpoint has ended, so it is canceled. To keep the endpoint: PATCH expires_at."
        return Next(action=CANCEL, at=party.expires_at, reason=reason)
    if party.status is EndpointStatus.PAUSED:
        since = f" since {iso(party.inactive_since)}" if party.inactive_since is not None else ""
        reason = f"Its endpoint is paused{since}. It is sent once it is resumed: POST /v1/endpoints/{party.id}/resume."
        return Next(action=WAIT, at=None, reason=reason)
    return _tried(delivery, last, party, now)


def _tried(delivery: Delivery, last: Attempt | None, party: Party, now: int) -> Next:
    """When the lane starts its next attempt."""
    at = delivery.due_at if delivery.due_at is not None else now
    reason = _why(delivery, last, party)
    if party.held_until is not None and party.held_until > max(at, now):
        at = party.held_until
        reason += " Nothing is sent to its endpoint before then: it asked us to wait, or was too busy to answer."
    probe_at = Breaker.load(party.breaker).next_probe_at
    if probe_at is not None and max(probe_at, now) >= at:
        at = max(probe_at, at)
        reason += " Its endpoint keeps failing (breaker open): one attempt at a time, until one succeeds."
    if party.expires_at is not None and party.expires_at <= at:
        reason += " The lease of its endpoint ends before: it is canceled then."
        return Next(action=CANCEL, at=party.expires_at, reason=reason)
    if at <= now:
        rate = f", {party.rate_limit} a second at most" if party.rate_limit is not None else ""
        reason += f" It is due and waits for its turn{rate}."
    return Next(action=ATTEMPT, at=at, reason=reason)


def _why(delivery: Delivery, last: Attempt | None, party: Party) -> str:
    if not delivery.attempts:
        return "It was not tried yet."
    made, whole = delivery.attempts - delivery.spent, len(schedule_of(party.retry_schedule))
    if not made:
        return f"Made due again by hand, after {_times(delivery)}."
    failed = f"Attempt {made} of {whole} failed"
    if last is None:
        return f"{failed}."
    failed += f": {explain(last.status_code, last.error_class)}"
    if _was_asked_to_wait(delivery, last, party):
        failed += ", and it asked us to wait until then (Retry-After)"
    return f"{failed}."


def _was_asked_to_wait(delivery: Delivery, last: Attempt, party: Party) -> bool:
    """Whether the next attempt is later than the schedule alone would have it."""
    schedule, made = schedule_of(party.retry_schedule), delivery.attempts - delivery.spent
    if delivery.due_at is None or made >= len(schedule):
        return False
    ended_at = last.at + (last.duration_ms or 0) * 1000
    return delivery.due_at > ended_at + int(schedule[made] * (1 + JITTER) * SECOND) + SECOND


def _gave_up(delivery: Delivery, last: Attempt | None) -> str:
    if last is None:
        return f"Given up after {_times(delivery)}."
    if last.error_class == BLOCKED:
        return (
            "Given up: its address is not one that may be called. Change the endpoint's URL, or have the operator allow it "
            "in TASKRELAY_EGRESS__ALLOW."
        )
    return f"Given up after {_times(delivery)}; the last: {explain(last.status_code, last.error_class)}."


def _canceled(last: Attempt | None, party: Party | None) -> str:
    if last is not None and last.status_code == 410:
        return "Canceled: the receiver answered 410, it wants no more."
    return f"Canceled: its endpoint is {_state(party)}."


def _state(party: Party | None) -> str:
    if party is None:
        return "not there"
    if party.deleted_at is not None:
        return f"deleted since {iso(party.deleted_at)}"
    if party.status is EndpointStatus.DISABLED:
        return f"disabled ({party.disabled_reason or 'no reason is known'})"
    return f"{party.status} again; it was disabled then"


def _lease_over(party: Party, now: int) -> bool:
    return party.expires_at is not None and party.expires_at <= now


def _times(delivery: Delivery) -> str:
    return "1 attempt" if delivery.attempts == 1 else f"{delivery.attempts} attempts"
