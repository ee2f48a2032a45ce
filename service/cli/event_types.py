"""`event-types`: what may be subscribed to, what its body holds, and samples of it."""

from __future__ import annotations

import json as json_text
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from service.cli.client import HERE, Api, Key, Url
from service.cli.subscription import Format
from service.cli.terminal import USAGE, Json, Stop, columns, say, show


def event_types(
    type: Annotated[
        str | None, typer.Argument(metavar="[TYPE]", help="One of them, such as task.failed.", show_default=False)
    ] = None,
    samples: Annotated[
        bool, typer.Option("--samples", help="With a type: the newest of yours, as the hook gets them.")
    ] = False,
    format: Format = None,
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """List the types of events, or show what the body of one holds."""
    if samples and type is None:
        raise Stop("--samples: say of which type", USAGE)
    path = "/v1/event-types" + (f"/{type}" if type else "") + ("/samples" if samples else "")
    with Api(url, key) as api:
        found = api.get(path, {"format": format})
    if json:
        show(found)
    elif samples:
        say("\n".join(json_text.dumps(one, ensure_ascii=False, indent=2) for one in found))
    elif type is not None:
        _tell(found)
    else:
        rows = [(one["type"], _heard(one), one["description"]) for one in found["data"]]
        columns(rows, head=("TYPE", "SENT", "TELLS"))


def _tell(found: Mapping[str, Any]) -> None:
    say(f"{found['type']}  {found['description']}")
    say(f"  {found['when']}")
    say(f"  {SENT[_heard(found)]}")
    say()
    columns(list(members(found["schema"])), head=("MEMBER", "IS", "HOLDS"))


SENT: Mapping[str, str] = {
    "unasked": "An endpoint hears of it unasked.",
    "if named": "An endpoint hears of it that names it.",
    "never": "Nothing sends it in this release.",
}


def _heard(one: Mapping[str, Any]) -> str:
    if one["reserved"]:
        return "never"
    return "unasked" if one["default"] else "if named"


def members(schema: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, str, str]]:
    """Each member of a schema by its path, with what it is."""
    for name, inner in schema.get("properties", {}).items():
        here = f"{place}{name}"
        yield here, _kind(inner), inner.get("description", "")
        yield from members(inner, f"{here}.")
        yield from members(inner.get("items", {}), f"{here}[].")


def _kind(schema: Mapping[str, Any]) -> str:
    """`string or null`, or the one value it can have."""
    if "const" in schema:
        return json_text.dumps(schema["const"])
    type = schema.get("type", "any")
    return " or ".join(type) if isinstance(type, list) else str(type)
