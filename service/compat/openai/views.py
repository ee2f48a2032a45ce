"""What is shown of ours in OpenAI's shapes. Pure.

OpenAI knows four states. Every end that is no success is `failed`, and `error.code` says which of ours it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from service.compat.openai.sizes import size_of
from service.core.events import ENDS
from service.core.formats import OPENAI_TYPES
from service.core.times import SECOND
from storage.records import Endpoint, Task, TaskStatus

STATUSES: Final[Mapping[TaskStatus, str]] = {
    TaskStatus.QUEUED: "queued",
    TaskStatus.SUBMITTING: "in_progress",
    TaskStatus.UNCONFIRMED: "in_progress",
    TaskStatus.PROCESSING: "in_progress",
    TaskStatus.SUCCEEDED: "completed",
    TaskStatus.FAILED: "failed",
    TaskStatus.CANCELED: "failed",
    TaskStatus.EXPIRED: "failed",
}
MESSAGES: Final[Mapping[TaskStatus, str]] = {
    TaskStatus.CANCELED: "It was canceled before it was bought. Nothing is charged.",
    TaskStatus.EXPIRED: "It had no end by its deadline.",
}
EVENTS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    theirs: tuple(ours for ours, other in OPENAI_TYPES.items() if other == theirs) for theirs in OPENAI_TYPES.values()
}


def video(task: Task, *, view: Mapping[str, object], output_url: str | None) -> dict[str, object]:
    """A task as a `Video`. `view`: as our own API shows it, of which what has no place elsewhere stands in `taskrelay`."""
    given: Mapping[str, Any] = orjson.loads(task.input)
    done = task.status is TaskStatus.SUCCEEDED
    return {
        "id": task.id,
        "object": "video",
        "model": f"{task.provider}/{task.model}",
        "status": STATUSES[task.status],
        "progress": 100 if done else task.progress or 0,
        "created_at": task.created_at // SECOND,
        "completed_at": task.finished_at // SECOND if task.finished_at is not None else None,
        "expires_at": None,  # /content finds the output for as long as its provider has it, and nobody says how long that is
        "prompt": given.get("prompt"),
        "seconds": str(given["duration"]) if "duration" in given else "",
        "size": size_of(given),
        "remixed_from_video_id": None,
        "error": _error(task),
        "taskrelay": {
            **{name: view[name] for name in SHOWN},
            "status": task.status,
            "output_url": output_url,
        },
    }


SHOWN: Final = (
    "phase",
    "provider",
    "account",
    "final",
    "charge",
    "cost",
    "reference",
    "metadata",
    "deadline_at",
    "links",
)


def _error(task: Task) -> dict[str, object] | None:
    if STATUSES[task.status] != "failed":
        return None
    told = task.failure
    code = told.code if told is not None and task.status is TaskStatus.FAILED else task.status
    return {"code": code, "message": told.message if told is not None else MESSAGES.get(task.status, "It failed.")}


def page(views: Sequence[Mapping[str, object]], *, has_more: bool) -> dict[str, object]:
    """A list; the next page is asked for by `last_id`."""
    first, last = (views[0]["id"], views[-1]["id"]) if views else (None, None)
    return {"object": "list", "data": views, "has_more": has_more, "first_id": first, "last_id": last}


def endpoint(one: Endpoint, *, secret: str | None) -> dict[str, object]:
    """An endpoint as a `WebhookEndpoint`. `secret`: of which the end is shown as a hint."""
    return {
        "id": one.id,
        "object": "webhook_endpoint",
        "name": one.description or "",
        "url": one.url,
        "event_types": event_types(one.events.split(",") if one.events is not None else sorted(ENDS)),
        "created_at": one.created_at // SECOND,
        "updated_at": one.updated_at // SECOND,
        "signing_secret_hint": f"whsec_…{secret[-4:]}" if secret is not None else None,
        "status": one.status,
    }


def event_types(ours: Sequence[str]) -> list[str]:
    """Types of ours as an endpoint of this format gets them."""
    found = {OPENAI_TYPES.get(one, one) for one in ours}
    return [*(one for one in EVENTS_OF if one in found), *sorted(found - set(EVENTS_OF))]
