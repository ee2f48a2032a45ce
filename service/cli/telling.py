"""Events as the commands that follow the feed show them: a line each, for a person or for a program."""

from __future__ import annotations

import json as json_text
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from service.cli.terminal import warn

if TYPE_CHECKING:
    from service.cli.feed import Happened

WIDEST_TYPE = 18


def told(event: Happened) -> str:
    """When, what, about what, and by which reference of the client's."""
    found = facts(event)
    at = str(found["timestamp"] or "")[11:19]
    about, reference = found["about"], found["reference"]
    return f"{at or '-'}  {event.type:{WIDEST_TYPE}}  {about or '-'}  {reference or '-'}"


def facts(event: Happened) -> dict[str, object]:
    """The same for a program."""
    try:
        body = json_text.loads(event.body)
    except ValueError:
        body = None
    whole: dict[str, Any] = body if isinstance(body, dict) else {}
    data = whole.get("data")
    subject: dict[str, Any] = data if isinstance(data, dict) else {}
    return {
        "id": event.id,
        "type": event.type,
        "timestamp": whole.get("timestamp"),
        "about": subject.get("id"),
        "reference": subject.get("reference"),
    }


def span(seconds: float) -> str:
    """A time in one unit, the largest that fits."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def line(document: object) -> None:
    """A document in one line, for a program that reads line by line."""
    sys.stdout.write(json_text.dumps(document, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def notes(json: bool) -> Callable[[str], None]:
    """Says on stderr what is no result."""

    def note(text: str) -> None:
        if json:
            sys.stderr.write(json_text.dumps({"note": text}, ensure_ascii=False) + "\n")
            sys.stderr.flush()
        else:
            warn(f"… {text}")

    return note
