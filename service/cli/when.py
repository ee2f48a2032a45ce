"""Instants on the command line: as the API takes them, or as so long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from service.cli.terminal import USAGE, Stop

UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
AGO: Final = re.compile(r"([0-9]{1,6})([smhd])")
HOW: Final = "Such as 2026-11-20T21:10:00Z, or 2h, 3d for so long ago."

Since = Annotated[str, typer.Option("--since", metavar="INSTANT", help=HOW, show_default=False)]
MaybeSince = Annotated[str | None, typer.Option("--since", metavar="INSTANT", help=HOW, show_default=False)]


def instant(text: str, option: str = "--since") -> str:
    """The instant in ISO 8601, UTC, with six digits, so that texts of instants sort like them. Raises `Stop`."""
    ago = AGO.fullmatch(text)
    try:
        if ago is not None:
            at = datetime.now(UTC) - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        else:
            at = datetime.fromisoformat(text)
            if at.tzinfo is None:
                raise ValueError("it has no zone")
            at = at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Stop(
            f"{option} {text!r}: write an instant with its zone, such as 2026-11-20T21:10:00Z, or 2h, 3d", USAGE
        ) from None
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06d}Z"


def maybe_instant(text: str | None, option: str) -> str | None:
    """The same, of what may be left out."""
    return None if text is None else instant(text, option)
