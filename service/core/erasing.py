"""Erasing: what a task was about goes, and what happened and what it cost stays. Pure: from what is kept to what is left of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from service.core.patience import LATE_VERDICT_SECONDS
from service.core.times import SECOND, iso
from storage.records import Failure, Task

# Words of a provider may repeat the prompt that they are about, and links lead to what was made of it.
TOLD: Final = ("message", "detail", "why")
ERASED_MESSAGE: Final = "erased"


def why_not(task: Task, *, pending: int, now: int) -> str | None:
    """Why it cannot be erased now, and what can be done; None when it can."""
    if task.finished_at is None:
        return f"It goes on: it is {task.status}. It can be erased once it has ended; what is queued can be canceled first."
    until = task.finished_at + LATE_VERDICT_SECONDS * SECOND
    if task.final_at is None and now <= until:
        return (
            f"It is {task.status}, and {task.provider} never said no: until {iso(until)} a late answer may still change it. "
            "It can be erased after that."
        )
    if pending:
        return (
            f"{pending} of its deliveries are not settled. GET /v1/deliveries?status=pending&task={task.id} lists them: they "
            "must arrive or be given up first, or their endpoints be deleted."
        )
    return None


def detail_left(detail: str) -> str:
    """What stays of a line of the timeline: what happened and when, not in whose words."""
    said: Mapping[str, object] = orjson.loads(detail)
    return orjson.dumps({name: value for name, value in said.items() if name not in TOLD}).decode()


def failure_left(failure: Failure | None) -> str | None:
    """What stays of why it failed."""
    if failure is None:
        return None
    left = {"code": failure.code, "message": ERASED_MESSAGE, "retryable": failure.retryable}
    return orjson.dumps({**left, "provider_code": failure.provider_code, "provider_message": None}).decode()


def body_left(body: bytes, erased_at: int) -> bytes:
    """What stays of an event: its id, type and moment, and the ledger of its task. Sent again, it says that it was erased."""
    event: dict[str, Any] = orjson.loads(body)
    shown: dict[str, Any] = event["data"]
    error = shown.get("error")
    if error is not None:
        error = {**error, "message": ERASED_MESSAGE, "provider_message": None}
    links = {**shown.get("links", {}), "output": None}
    empty: dict[str, object] = {"input": {}, "output_url": None, "outputs": [], "error": error, "links": links}
    return orjson.dumps({**event, "data": {**shown, **empty, "erased_at": iso(erased_at)}})
