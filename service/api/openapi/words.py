"""What the document is written in: an operation, its parameters, bodies and answers, and the schemas they share.

Every closed set comes from the code that closes it. Requests are closed, because unknown members are refused; answers are
open, because inside /v1 members are only added.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from service.api.query import LIMIT_DEFAULT, LIMIT_MOST, LONGEST
from service.core.event_schema import thing

Schema = dict[str, Any]
JSON: Final = "application/json"
AT: Final = "2026-11-20T21:10:00.000000Z"
NOBODY: Final = "01M7Z0000000000000000000AA"  # the end of ids in examples


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One way in which an operation ends well. `headers`: names of `HEADERS` in `headers`, always there; `maybe`: sometimes."""

    about: str
    schema: Schema | None = None
    media_type: str = JSON
    headers: Collection[str] = ()
    maybe: Collection[str] = ()
    example: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What a request brings. `examples`: by name."""

    schema: Schema
    examples: Mapping[str, object] = field(default_factory=dict)
    media_type: str = JSON
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row of the routes. `codes`: problems it may answer beside those that any such request may meet."""

    id: str
    tag: str
    summary: str
    about: str = ""
    parameters: tuple[Schema, ...] = ()
    body: Body | None = None
    answers: Mapping[int, Answer]
    codes: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()  # of what stands beside the table of routes
    problem: str = "Problem"  # the shape of its problems


Operations = Mapping[tuple[str, str], Operation]
Schemas = Mapping[str, Schema]


def ref(name: str) -> Schema:
    """A schema by its name among the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def maybe_ref(name: str) -> Schema:
    """The same, or null."""
    return {"anyOf": [ref(name), {"type": "null"}]}


def closed(about: str, members: Mapping[str, Schema], *, needed: Iterable[str] = ()) -> Schema:
    """An object of a request: what it does not name is refused."""
    shape: Schema = {"type": "object", "description": about, "additionalProperties": False, "properties": dict(members)}
    return shape | ({"required": list(needed)} if needed else {})


def constant(value: str | bool, about: str = "What this is.") -> Schema:
    return {"const": value, "description": about}


def one_of(about: str, words: Iterable[str]) -> Schema:
    """A word of a closed set."""
    return {"type": "string", "enum": [str(word) for word in words], "description": about}


def number(about: str) -> Schema:
    return {"type": "number", "description": about}


def free(about: str) -> Schema:
    """An object whose members are named elsewhere."""
    return {"type": "object", "description": about, "additionalProperties": True}


def id_of(prefix: str, about: str) -> Schema:
    return {"type": "string", "pattern": f"^{prefix}_[0-9A-Z]{{26}}$", "description": about}


def within(about: str, low: int, high: int, default: int | None = None) -> Schema:
    """A whole number between two bounds."""
    shape: Schema = {"type": "integer", "minimum": low, "maximum": high, "description": about}
    return shape if default is None else {**shape, "default": default}


def stated(about: str) -> Schema:
    """An instant as a client writes it: with any offset, and from no digit to six behind the second."""
    return {"type": "string", "format": "date-time", "description": about, "examples": [AT]}


def or_null(schema: Schema) -> Schema:
    """The same, or null: of any schema, also one without a type of its own."""
    about = {"description": schema["description"]} if "description" in schema else {}
    bare = {name: value for name, value in schema.items() if name != "description"}
    return {**about, "anyOf": [bare, {"type": "null"}]}


def listed(of: Schema, *, next: Schema | None = None, more: Mapping[str, Schema] | None = None) -> Schema:
    """The shape of every list."""
    members = {
        "object": constant("list"),
        "data": {"type": "array", "items": of, "description": "One page of it."},
        "has_more": {"type": "boolean", "description": "Whether there is another page."},
        "next": next or NEXT,
        **(more or {}),
    }
    return thing("A page.", members)


NEXT: Final[Schema] = {
    "type": ["string", "null"],
    "description": "What to send as `after` for the next page; null where there is none.",
}


# Parameters


def query(name: str, schema: Schema, *, required: bool = False) -> Schema:
    """A query parameter. Each may be given once; names that are not listed are refused."""
    about = schema.get("description", "")
    bare = {key: value for key, value in schema.items() if key != "description"}
    return {"name": name, "in": "query", "required": required, "description": about, "schema": bare}


def line(about: str, *, least: int = 0) -> Schema:
    """Text of a query parameter."""
    return {"type": "string", "minLength": least, "maxLength": LONGEST, "description": about}


def in_path(name: str, schema: Schema) -> Schema:
    return {**query(name, schema, required=True), "in": "path"}


def header(name: str, about: str, schema: Schema) -> Schema:
    return {"name": name, "in": "header", "required": False, "description": about, "schema": schema}


LIMIT: Final = query("limit", within("Entries of a page.", 1, LIMIT_MOST, LIMIT_DEFAULT))
AFTER: Final = query(
    "after",
    {
        "type": "string",
        "pattern": "^[A-Za-z0-9_-]{1,120}$",
        "description": "`next` of the page before, as it came. Anything else is refused.",
    },
)
PAGED: Final = (LIMIT, AFTER)
