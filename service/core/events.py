"""Events: their types, who wants which, their ids, and the bytes that every attempt of every delivery carries.

The same view of a task answers `GET /v1/tasks/{id}`, so a subscriber and a reader see one shape.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

import orjson

from service.core import ids, money
from service.core.care import Cause, Pause
from service.core.surplus import charge_told
from service.core.times import iso
from storage.records import Endpoint, Failure, Output, Surplus, Task, TaskStatus


class EventType(StrEnum):
    """Everything a subscriber may hear of. Inside /v1 types are only added."""

    TASK_SUBMITTED = "task.submitted"
    TASK_PROCESSING = "task.processing"
    TASK_SUCCEEDED = "task.succeeded"
    TASK_FAILED = "task.failed"
    TASK_CANCELED = "task.canceled"
    TASK_EXPIRED = "task.expired"
    TASK_UNCONFIRMED = "task.unconfirmed"
    TASK_CONFLICT = "task.conflict"
    TASK_CORRECTED = "task.corrected"
    ACCOUNT_PAUSED = "account.paused"
    ACCOUNT_RESUMED = "account.resumed"
    ACCOUNT_CALLBACKS_MISSING = "account.callbacks_missing"
    ENDPOINT_FAILING = "endpoint.failing"
    ENDPOINT_DISABLED = "endpoint.disabled"


# What an endpoint hears that names no types.
ENDS: Final[frozenset[str]] = frozenset(
    {EventType.TASK_SUCCEEDED, EventType.TASK_FAILED, EventType.TASK_CANCELED, EventType.TASK_EXPIRED}
)

CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)

AIM_BYTES: Final = 20 * 1024  # what an ordinary event stays under
MAX_BYTES: Final = 256 * 1024


# Asked once per event and endpoint; there are as many answers as subscriptions.
@lru_cache(maxsize=8192)
def wants(endpoint_events: str | None, type: str) -> bool:
    """Whether a subscription (comma-separated types, `task.*` or `*`; None: the ends) takes events of this type."""
    named = {name.strip() for name in (endpoint_events or "").split(",")} - {""}
    if not named:
        return type in ENDS
    return not named.isdisjoint({type, "*", f"{type.partition('.')[0]}.*"})


def event_id(key: bytes, subject_id: str, type: str, discriminator: str) -> str:
    """The id of one fact about a task or an endpoint: a run repeated after a crash or a restore finds the same one, so receivers
    drop the second.

    Never made of the sequence: after a restore the same number can be another fact. `key` must outlive the rotation
    of keys that sign, or the same fact would be renamed.
    """
    fact = f"{subject_id}\0{type}\0{discriminator}".encode()
    return ids.beside(ids.EVENT, subject_id, hmac.digest(key, fact, "sha256")[:10])


def task_view(task: Task, *, public_url: str, output_url: str | None) -> dict[str, object]:
    """The public task. `input` and `metadata` are stored JSON and pass through unread; `public_url` has no final `/`.

    Without `evidence` and `next`, which only the API adds. For `orjson.dumps`.
    """
    url = f"{public_url}/v1/tasks/{task.id}"
    return {
        "id": task.id,
        "object": "task",
        "status": task.status,
        "phase": task.phase,
        "provider": task.provider,
        "account": task.account,
        "model": task.model,
        "input": orjson.Fragment(task.input),
        "progress": task.progress,
        "final": task.final_at is not None,
        "final_at": iso_or_none(task.final_at),
        "late": task.late,
        "charge": charge_told(task),
        "output_url": output_url,
        "outputs": [output_view(output) for output in task.outputs],
        "error": failure_view(task.failure) if task.failure else None,
        "cost": {
            "unit": task.cost_unit,
            "estimated": task.cost_estimated,
            "charged": task.cost_charged,
            "money": money_view(task.cost_estimated, task.cost_charged, task.unit_price, task.cost_unit),
            "surplus": [surplus_view(one) for one in task.surplus],
        },
        "provider_task_id": task.provider_task_id,
        "reference": task.reference,
        "metadata": orjson.Fragment(task.metadata),
        "sequence": task.sequence,
        "created_at": iso(task.created_at),
        "submitted_at": iso_or_none(task.submitted_at),
        "finished_at": iso_or_none(task.finished_at),
        "updated_at": iso(task.updated_at),
        "deadline_at": iso(task.deadline_at),
        "links": {
            "self": url,
            "timeline": url + "/timeline",
            "cancel": url + "/cancel" if task.status is TaskStatus.QUEUED else None,
            "resolve": url + "/resolve" if _in_doubt(task) else None,
            "output": output_url,
        },
    }


def _in_doubt(task: Task) -> bool:
    """Whether a person can still settle it: nobody knows its job, and it has not ended for good."""
    bought = task.status is TaskStatus.UNCONFIRMED or (task.finished_at is not None and task.final_at is None)
    return bought and task.provider_task_id is None


def surplus_view(job: Surplus) -> dict[str, object]:
    """A job bought beside the task's own, and what it costs."""
    return {
        "provider_task_id": job.provider_task_id,
        "account": job.account,
        "found_at": iso(job.found_at),
        "unit": job.unit,
        "estimated": job.estimated,
        "charged": job.charged,
        "money": money_view(job.estimated, job.charged, job.unit_price, job.unit),
    }


def output_view(output: Output) -> dict[str, object]:
    return {
        "type": output.type,
        "url": output.url,
        "duration": output.duration,
        "expires_at": iso_or_none(output.expires_at),
    }


def failure_view(failure: Failure) -> dict[str, object]:
    return {
        "code": failure.code,
        "message": failure.message,
        "retryable": failure.retryable,
        "provider_code": failure.provider_code,
        "provider_message": failure.provider_message,
    }


def iso_or_none(at: int | None) -> str | None:
    return None if at is None else iso(at)


# Tasks of one shape cost the same; multiplying once each is enough.
@lru_cache(maxsize=4096)
def money_view(
    estimated: str | None, charged: str | None, unit_price: str | None, unit: str | None = None
) -> Mapping[str, object] | None:
    """The cost in money, exact, when a price such as "0.01 USD" is configured and an amount is known.

    A provider that charges in a currency has said it already. What cannot be read is not known: an odd price must not
    keep a task's event from being written.
    """
    try:
        price = money.unit_price(unit_price) if unit_price else None
    except money.BadPrice:
        return None
    if price is None and unit is not None and CURRENCY.fullmatch(unit):
        price = money.UnitPrice(amount=Decimal(1), currency=unit)
    if price is None:
        return None
    sums = [worth(amount, price) for amount in (estimated, charged)]
    return None if sums == [None, None] else {"estimated": sums[0], "charged": sums[1], "currency": price.currency}


def worth(amount: str | None, price: money.UnitPrice) -> str | None:
    try:
        return money.worth(amount, price)
    except money.BadAmount:
        return None


def endpoint_view(endpoint: Endpoint, *, public_url: str) -> dict[str, object]:
    """An endpoint as other endpoints are told of it: without its URL, whose path may be the receiver's secret."""
    parts = urlsplit(endpoint.url)
    return {
        "id": endpoint.id,
        "object": "endpoint",
        "origin": f"{parts.scheme}://{parts.netloc}",
        "description": endpoint.description,
        "status": endpoint.status,
        "disabled_reason": endpoint.disabled_reason,
        "links": {"self": f"{public_url}/v1/endpoints/{endpoint.id}"},
    }


def account_view(
    name: str,
    provider: str,
    *,
    pauses: Mapping[Cause, Pause],
    silent_since: int | None,
    public_url: str,
) -> dict[str, object]:
    """An account as subscribers are told of it: no figures, and nothing of anybody's tasks."""
    return {
        "name": name,
        "object": "account",
        "provider": provider,
        "status": "paused" if pauses else "active",
        "paused": [pause_view(cause, pauses[cause]) for cause in sorted(pauses)],
        "callbacks_missing_since": iso_or_none(silent_since),
        "links": {"self": f"{public_url}/v1/accounts/{name}"},
    }


def pause_view(cause: Cause, pause: Pause) -> dict[str, object]:
    """Why nothing is bought. `reason`, `code`: what the provider said."""
    return {"cause": cause, "since": iso(pause.since), "code": pause.code, "reason": pause.reason}


def render_event(id: str, type: str, at: int, view: Mapping[str, object], *, test: bool = False) -> bytes:
    """The body of an event that is not about a task of the project; a test says so where it is signed."""
    event: dict[str, object] = {"id": id, "type": type, "timestamp": iso(at), "data": view}
    return orjson.dumps(event | {"test": True} if test else event)


def render_task_event(id: str, type: str, at: int, view: Mapping[str, object]) -> bytes:
    """The body of an event about a task: what is signed, stored and sent, the same bytes every time.

    `at`: when it happened. What clients may send is bounded, so no valid request comes near the cap; should a body
    still pass it, the event goes out without `input` and `metadata`, marked `truncated`, rather than not at all.
    """
    event = {"id": id, "type": type, "timestamp": iso(at), "data": view}
    body = orjson.dumps(event)
    if len(body) <= MAX_BYTES:
        return body
    return orjson.dumps(event | {"data": {**view, "input": {}, "metadata": {}, "truncated": True}})
