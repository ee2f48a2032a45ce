"""Holds bodies against their schema, with an independent validator, and finds what a schema leaves undescribed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import orjson
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from service.core.event_schema import event_schema
from service.core.events import EventType
from service.core.formats import render
from storage.records import EndpointFormat


@cache
def validator(type: EventType, format: EndpointFormat) -> Any:
    schema = event_schema(type, format)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def faults(body: bytes) -> list[str]:
    """Everything that is wrong with a body of ours, in every format it may be sent in."""
    type = EventType(orjson.loads(body)["type"])
    found: list[str] = []
    for format in EndpointFormat:
        event, judge = orjson.loads(render(format, body)), validator(type, format)
        found += [f"{format} {error.json_path}: {error.message}" for error in judge.iter_errors(event)]
        found += [f"{format} {place} is not described" for place in undescribed(event, judge.schema)]
    return found


def undescribed(value: Any, schema: Mapping[str, Any], place: str = "$") -> Iterator[str]:
    """Members that the schema says nothing about. Below what is open on purpose nothing is looked at."""
    if not schema.get("description"):
        yield place
    if isinstance(value, dict) and "additionalProperties" not in schema:
        for name, inner in value.items():
            if name in schema.get("properties", {}):
                yield from undescribed(inner, schema["properties"][name], f"{place}.{name}")
            else:
                yield f"{place}.{name}"
    for number, inner in enumerate(value if isinstance(value, list) else ()):
        yield from undescribed(inner, schema["items"], f"{place}[{number}]")
