"""Gives the text of a form the types that JSON would have had: a form knows text alone, our vocabulary knows what each word is.

Text that cannot be of the type stays text, and the check that follows says what it should have been.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from service.core.json_text import Malformed, load_json
from service.providers.base import Model
from service.providers.limits import Kind

WHOLE = frozenset({"duration", "deadline_seconds"})
NUMBERS = frozenset({"cfg_scale"})
FLAGS = frozenset({"sound", "watermark", "share_publicly"})
# May also come as JSON text, which says more than brackets can.
NESTED = frozenset(
    {"shots", "fallbacks", "camera", "metadata", "provider_options", "images", "webhook_events", "input_reference"}
)

_WHOLE = re.compile(r"-?[0-9]{1,15}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)


def typed(members: Mapping[str, object], model: Model | None) -> dict[str, object]:
    """The members of a form. `model`: tells the types of the contract's own fields."""
    return {name: _member(name, value, model) for name, value in members.items()}


def _member(name: str, value: object, model: Model | None) -> object:
    if isinstance(value, str) and name in NESTED and value[:1] in ("{", "["):
        try:
            return load_json(value.encode())
        except (Malformed, UnicodeEncodeError):
            return value
    if isinstance(value, dict) and name == "provider_options":
        return {option: _option(option, inner, model) for option, inner in value.items()}
    if isinstance(value, dict) and name == "camera":
        return {**value, "config": _numbers(value["config"])} if "config" in value else value
    if isinstance(value, list) and name == "shots":
        return [{**one, "duration": whole(one.get("duration"))} if isinstance(one, dict) else one for one in value]
    if name in WHOLE:
        return whole(value)
    if name in NUMBERS:
        return _number(value)
    return _flag(value) if name in FLAGS else value


def _option(name: str, value: object, model: Model | None) -> object:
    """A field of the contract's own, as its table says what it is."""
    limit = model.native.get(name) if model is not None else None
    match limit.kind if limit is not None else None:
        case Kind.FLAG:
            return _flag(value)
        case Kind.WHOLE:
            return whole(value)
        case Kind.NUMBER:
            return _number(value)
        case _:
            return value


def whole(value: object) -> object:
    return int(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else value


def _number(value: object) -> object:
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


def _numbers(value: object) -> object:
    return {name: _number(inner) for name, inner in value.items()} if isinstance(value, dict) else value


def _flag(value: object) -> object:
    return value == "true" if value in ("true", "false") else value
