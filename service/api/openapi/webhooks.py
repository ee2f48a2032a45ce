"""What subscribers are sent, in the document: each type of event, its body in each format, and an example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from service.api.openapi.words import Schema
from service.core import formats
from service.core.event_schema import TASK, data_schema, event_schema, thing, word
from service.core.event_types import CATALOGUE, subject
from service.core.events import EventType
from service.core.formats import CONTENT_TYPES
from service.core.samples import SAMPLE_EVENT, sample
from service.core.times import parse_iso
from storage.records import EndpointFormat, TaskStatus

EXAMPLE_AT: Final = parse_iso("2026-11-20T21:10:00Z") or 0
SCHEMAS: Final[Mapping[str, Schema]] = {
    "TaskTold": thing(
        "A task as events carry it: as it was then, without `evidence` and `next`.",
        {**TASK, "status": word("Where it stands.", TaskStatus)},
        needless=("truncated", "erased_at"),
    )
}
SENT: Final[tuple[tuple[str, str, Schema], ...]] = (
    ("webhook-id", "The event's id, the same on every attempt: de-duplicate on it.", {"type": "string"}),
    ("webhook-timestamp", "Seconds since 1970 of this attempt.", {"type": "string", "pattern": "^[0-9]+$"}),
    (
        "webhook-signature",
        "Signatures of `webhook-id.webhook-timestamp.body`, separated by spaces: `v1,` (HMAC-SHA256) or `v1a,` (Ed25519) and base64.",
        {"type": "string"},
    ),
    ("taskrelay-event", "The event's type. Not signed: a hint.", {"type": "string"}),
    ("taskrelay-attempt", "Which attempt it is. Not signed: a hint.", {"type": "string", "pattern": "^[0-9]+$"}),
)
ANSWERS: Final[Mapping[str, Mapping[str, str]]] = {
    "2XX": {"description": "It is taken, and not sent again."},
    "410": {"description": "No more of these: the endpoint is disabled."},
    "default": {"description": "Anything else, or none within 15 seconds: it is sent again on its schedule."},
}


def webhook(type: EventType, base: str) -> dict[str, Any]:
    """One type as an operation of the subscriber's."""
    kind = CATALOGUE[type]
    content: dict[str, Any] = {}
    for format in EndpointFormat:
        told = content.setdefault(CONTENT_TYPES[format], {"schema": {"anyOf": []}, "examples": {}})
        told["schema"]["anyOf"].append(body(type, format))
        told["examples"][format.value] = {"value": example(type, format, base)}
    return {
        "post": {
            "operationId": f"on.{type.value}",
            "tags": ["Webhooks"],
            "summary": kind.tells,
            "description": kind.when,
            "security": [],
            "parameters": [
                {"name": name, "in": "header", "required": True, "description": about, "schema": schema}
                for name, about, schema in SENT
            ],
            "requestBody": {"required": True, "content": content},
            "responses": dict(ANSWERS),
        }
    }


def body(type: EventType, format: EndpointFormat) -> Schema:
    """The body in one format. The task in it is named once among the components."""
    schema = {name: value for name, value in event_schema(type, format).items() if name != "$schema"}
    schema["title"] = f"{type.value} ({format.value})"
    if subject(type) == "task" and format is not EndpointFormat.OPENAI:
        status = CATALOGUE[type].status
        task: Schema = {"$ref": "#/components/schemas/TaskTold"}
        if status is not None:
            task["properties"] = {"status": data_schema(type)["properties"]["status"]}
        schema["properties"] = {**schema["properties"], "data": task}
    return schema


def example(type: EventType, format: EndpointFormat, base: str) -> object:
    """The sample that `POST /v1/endpoints/{id}/test` would send."""
    rendered = sample(type, id=SAMPLE_EVENT, now=EXAMPLE_AT, public_url=base)
    decoded: object = orjson.loads(formats.render(format, rendered))
    return decoded
