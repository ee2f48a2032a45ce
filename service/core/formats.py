"""The bodies an endpoint may ask for instead of ours, made from the stored bytes at each attempt.

From these alone, so every attempt carries the same bytes whatever was configured in between. CloudEvents: structured mode of
https://github.com/cloudevents/spec, 1.0.2. OpenAI: the shape that its SDKs' `webhooks.unwrap` reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from service.core.times import SECOND, parse_iso
from storage.records import EndpointFormat

JSON: Final = "application/json"
CONTENT_TYPES: Final[Mapping[EndpointFormat, str]] = {
    EndpointFormat.STANDARD: JSON,
    EndpointFormat.CLOUDEVENTS: "application/cloudevents+json",
    EndpointFormat.OPENAI: JSON,
}
SOURCE: Final = "taskrelay"
# An SDK knows two ends; which of ours it was stands in the event that GET /v1/events/{id} gives.
OPENAI_TYPES: Final[Mapping[str, str]] = {
    "task.succeeded": "video.completed",
    "task.failed": "video.failed",
    "task.canceled": "video.failed",
    "task.expired": "video.failed",
}


def render(format: EndpointFormat, body: bytes) -> bytes:
    """The body to sign and send. Raises ValueError or KeyError for bytes that are no event of ours."""
    if format is EndpointFormat.STANDARD:
        return body
    return orjson.dumps(SHAPES[format](orjson.loads(body)))


def subject(data: Mapping[str, Any]) -> object:
    """What an event is about; an account has a name and no id."""
    return data["id"] if "id" in data else data["name"]


def cloudevent(event: Mapping[str, Any]) -> dict[str, object]:
    shaped: dict[str, object] = {
        "specversion": "1.0",
        "id": event["id"],
        "source": SOURCE,
        "type": event["type"],
        "time": event["timestamp"],
        "datacontenttype": JSON,
        "data": event["data"],
    }
    shaped["subject"] = subject(event["data"])
    if event.get("test"):
        shaped["test"] = True
    return shaped


def openai_event(event: Mapping[str, Any]) -> dict[str, object]:
    at = parse_iso(event["timestamp"])
    if at is None:
        raise ValueError("the event has no timestamp")
    shaped: dict[str, object] = {
        "id": event["id"],
        "object": "event",
        "type": OPENAI_TYPES.get(event["type"], event["type"]),
        "created_at": at // SECOND,
        "timestamp": event["timestamp"],
        "data": {"id": subject(event["data"])},
    }
    return shaped | {"test": True} if event.get("test") else shaped


SHAPES: Final[Mapping[EndpointFormat, Callable[[Mapping[str, Any]], dict[str, object]]]] = {
    EndpointFormat.CLOUDEVENTS: cloudevent,
    EndpointFormat.OPENAI: openai_event,
}
