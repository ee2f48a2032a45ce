"""What attempts of deliveries mean for the counters and the log: each is counted, what people must know is said."""

from __future__ import annotations

import logging
from typing import Final

from service.core.delivery import BLOCKED
from service.core.times import SECOND
from service.net.sender import Sent
from service.pipeline.settling import Unwritten
from service.telemetry import metrics
from service.telemetry.facts import tell
from storage.outbox import Due, Settled
from storage.records import DeliveryStatus, Endpoint, Lane

log = logging.getLogger("taskrelay.relay")

# Found once: every delivery comes by here.
_SECONDS = metrics.attempt_seconds.labels()
_RELAYED = metrics.callback_relay_seconds.labels()
_OUTCOMES: Final = {status.value: metrics.deliveries.labels(status.value) for status in DeliveryStatus}
_CLASSES: Final = {number: metrics.attempts.labels(f"{number}xx") for number in range(1, 6)}
_GIVEN_UP: Final = frozenset({DeliveryStatus.EXHAUSTED.value, DeliveryStatus.QUARANTINED.value})


def attempted(due: Due, sent: Sent, now: int) -> None:
    """Count one attempt, and how long its subscriber had to wait for what a push told."""
    status = sent.status_code
    counter = _CLASSES.get(status // 100) if status is not None else None
    (counter or metrics.attempts.labels(sent.error_class or "other")).inc()
    _SECONDS.observe(sent.duration_ms / 1000)
    if due.heard_at is not None and sent.error_class is None and not due.attempts:
        _RELAYED.observe(max(now - due.heard_at, 0) / SECOND)
    elif sent.error_class == BLOCKED:
        metrics.egress_blocked.labels("delivery").inc()


def settled(written: Unwritten, lane: Lane, endpoint: Endpoint | None) -> None:
    """Count what became of deliveries, and say which were given up and why. After the commit."""
    project = endpoint.project_id if endpoint is not None else None
    detailed = log.isEnabledFor(logging.DEBUG)
    for one in written.results:
        _OUTCOMES[one.status].inc()
        if detailed or one.status in _GIVEN_UP:
            level = logging.WARNING if one.status in _GIVEN_UP else logging.DEBUG
            tell(log, f"delivery {one.status}", level, **_said(one), endpoint=lane.key, project=project)
    if written.alarms:
        metrics.endpoint_alarms.labels("failing").inc()
        last = written.alarms[-1]
        _warn("endpoint failing", lane, project, patience_used=last.used, why=last.reason)
    if written.giving_up:
        metrics.endpoint_alarms.labels("disabled").inc()
        _warn("endpoint disabled", lane, project, why=written.disable)


def _said(one: Settled) -> dict[str, object]:
    tried = one.attempt
    return {
        "delivery": one.delivery_id,
        "attempts": tried.number,
        "status": tried.status_code,
        "error": tried.error_class,
        "ms": tried.duration_ms,
    }


def _warn(text: str, lane: Lane, project: str | None, **said: object) -> None:
    tell(log, text, logging.WARNING, endpoint=lane.key, project=project, **said)


def breaker(endpoint_id: str, *, opened: bool) -> None:
    """An endpoint keeps failing and is only probed from now on, or answers again."""
    tell(log, "breaker open" if opened else "breaker closed", logging.WARNING, endpoint=endpoint_id)
