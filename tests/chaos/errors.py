"""Exceptions that reached a replica's log. One that says that the database is away is no mistake of ours."""

from __future__ import annotations

import json
import re
from pathlib import Path

KNOWN = re.compile(r"storage\.errors\.(Unavailable|Busy|CommitUnknown)\b")

DRIVER = "asyncpg"  # its pool says so itself, with a trace, when it cannot reconnect yet


def traces(log: Path) -> list[str]:
    """Of a log of JSON lines, among which may stand what was printed without it."""
    if not log.exists():
        return []
    found, loose = [], []
    for line in log.read_text(errors="replace").splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            loose.append(line)
            continue
        trace = said.get("error") if isinstance(said, dict) else None
        if (
            isinstance(trace, str)
            and "Traceback" in trace
            and not known(trace)
            and not str(said.get("logger")).startswith(DRIVER)
        ):
            found.append(f"{said.get('at')} {said.get('text')}\n{trace}")
    printed = "\n".join(loose)
    if "Traceback" in printed:
        found.append(printed[printed.index("Traceback") :][:3000])
    return found


def known(trace: str) -> bool:
    """Whether it ends in the words of the storage for trouble that passes."""
    last = [line for line in trace.strip().splitlines() if line and not line.startswith(" ")]
    return bool(last) and KNOWN.match(last[-1]) is not None
