"""One attempt that is over: what it means for its delivery, and the row that is kept of it."""

from __future__ import annotations

from dataclasses import replace

from service.core import delivery
from service.core.delivery import Verdict
from service.net.sender import Sent
from service.pipeline.orders import Orders
from storage.outbox import Due, Settled
from storage.records import Attempt, DeliveryStatus

CONNECT = "connect"
RESTARTABLE = (
    DeliveryStatus.PENDING,
    DeliveryStatus.EXHAUSTED,
)  # whoever has it sent again means more than this attempt
_UNANSWERED = frozenset({"refused", "reset", "timeout"})  # told apart, these would say which ports are open


def judge(due: Due, sent: Sent, follow: Orders, *, now: int, jitter: float, moved: bool = False) -> Verdict:
    """The verdict on an attempt. A test is made once, and disables nothing."""
    verdict = delivery.judge(
        status_code=sent.status_code,
        error_class=sent.error_class,
        retry_after=sent.retry_after,
        attempts_made=due.attempts + 1,
        now=now,
        jitter=jitter,
        created_at=due.since,
        hidden=follow.endpoint.hidden,
        moved=moved,
        spent=due.spent,
        schedule=follow.schedule,
    )
    if not due.test:
        return verdict
    if verdict.status is DeliveryStatus.PENDING:
        return replace(verdict, status=DeliveryStatus.EXHAUSTED, due_at=None)
    return replace(verdict, disable_endpoint=False)


def settled(due: Due, sent: Sent, verdict: Verdict, started_at: int) -> Settled:
    """What is written of an attempt. Of a test neither time nor body nor why there was no connection is kept: it must not
    be of use for looking around."""
    return Settled(
        delivery_id=due.id,
        was=due.attempts,
        since=due.since if verdict.status in RESTARTABLE else None,
        status=verdict.status.value,
        due_at=verdict.due_at,
        attempt=Attempt(
            delivery_id=due.id,
            number=due.attempts + 1,
            at=started_at,
            duration_ms=None if due.test else sent.duration_ms,
            status_code=sent.status_code,
            error_class=CONNECT if due.test and sent.error_class in _UNANSWERED else sent.error_class,
            response_head=None if due.test else sent.response_head,
        ),
    )
