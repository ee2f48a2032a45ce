"""A model as it is published: JSON Schema of its input and options, and its prices, from the tables that judge and estimate."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from service.core import money
from service.core.request import Input
from service.providers.base import Model
from service.providers.limits import Kind, Limit, Price

DIALECT = "https://json-schema.org/draft/2020-12/schema"
LINK: Mapping[str, object] = {
    "type": "string",
    "format": "uri",
    "pattern": "^https?://",
    "minLength": 1,
    "maxLength": 2048,
}
NOT_BLANK = r"\S"


def input_schema(model: Model) -> dict[str, object]:
    """What `input` may be for this model. A word without a limit of its own has the type that the vocabulary gives it."""
    words = {
        name: _word(model.limits[name]) if name in model.limits else _vocabulary(name) for name in sorted(model.inputs)
    }
    schema: dict[str, object] = {
        "$schema": DIALECT,
        "type": "object",
        "additionalProperties": False,
        "properties": words,
    }
    rules: list[dict[str, object]] = []
    for name, limit in model.limits.items():
        if limit.required and not limit.unless:
            schema.setdefault("required", []).append(name)  # type: ignore[attr-defined]
        elif limit.required:
            rules.append({"anyOf": [{"required": [word]} for word in (name, *limit.unless)]})
    rules += [{"not": {"required": [apart.word, other]}} for apart in model.apart for other in apart.others]
    return schema | ({"allOf": rules} if rules else {})


def options_schema(model: Model) -> dict[str, object]:
    """What `provider_options` may be: the contract's own fields that are let through."""
    known: dict[str, object] = {
        name: _word(model.native[name]) if name in model.native else {} for name in sorted(model.options)
    }
    return {"$schema": DIALECT, "type": "object", "additionalProperties": False, "properties": known}


def price_list(model: Model) -> list[dict[str, object]]:
    """The lines whose sum is the estimate: every one that fits the effective input counts."""
    return [_price(price) for price in model.prices]


def _price(price: Price) -> dict[str, object]:
    amount = money.plain(price.amount)
    return {"unit": price.unit, "amount": amount, "per": price.per, "when": dict(price.when)}


def _word(limit: Limit) -> dict[str, object]:
    shape = _shape(limit)
    if limit.allowed:
        shape["enum"] = list(limit.allowed)
    if limit.default is not None:
        shape["default"] = limit.default
    return shape


def _shape(limit: Limit) -> dict[str, object]:
    match limit.kind:
        case Kind.TEXT:
            return {"type": "string", "maxLength": limit.most, **({} if limit.blank else {"pattern": NOT_BLANK})}
        case Kind.WHOLE | Kind.NUMBER:
            bounds = {"minimum": limit.low, "maximum": limit.high}
            stated = {name: bound for name, bound in bounds.items() if bound is not None}
            return {"type": "integer" if limit.kind is Kind.WHOLE else "number", **stated}
        case Kind.FLAG:
            return {"type": "boolean"}
        case Kind.CHOICE:
            return {"type": "string"}
        case Kind.LINK:
            return dict(LINK)
        case Kind.LINKS:
            return {"type": "array", "items": dict(LINK), "minItems": 1, "maxItems": limit.most}
        case Kind.SHOTS:
            return {"type": "array", "items": _shot(limit), "minItems": 1, "maxItems": limit.most}


def _shot(limit: Limit) -> dict[str, object]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["prompt", "duration"],
        "properties": {
            "prompt": {"type": "string", "maxLength": limit.each, "pattern": NOT_BLANK},
            "duration": {"type": "integer", "minimum": 1},
        },
    }


@cache
def _types() -> dict[str, Any]:
    return TypeAdapter(Input).json_schema()


def _vocabulary(name: str) -> dict[str, object]:
    """The type of a word, before any contract's limits. References are written out: nothing in it refers to itself."""
    spread: dict[str, object] = _spread(_types()["properties"][name])
    return spread


def _spread(value: Any) -> Any:
    if isinstance(value, dict):
        if "$ref" in value:
            return _spread(_types()["$defs"][value["$ref"].rpartition("/")[2]])
        return {name: _spread(inner) for name, inner in value.items() if name not in ("title", "description")}
    return [_spread(inner) for inner in value] if isinstance(value, list) else value
