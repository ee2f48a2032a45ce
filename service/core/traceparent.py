"""The `traceparent` of W3C Trace Context: read strictly, since it is stored and sent on.

Version 00 alone: of a later one we would send on what we do not understand. `tracestate` is not kept; it may hold anything.
"""

from __future__ import annotations

import re
from typing import Final

NAME: Final = "traceparent"
FORM: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}", re.ASCII)
LENGTH: Final = 55


def read(stated: str) -> str | None:
    """The value as it may be kept; None for whatever is none, or names no trace or no span (all zeros)."""
    found = FORM.fullmatch(stated.strip(" \t")) if len(stated) <= LENGTH + 8 else None
    if found is None or not found[1].strip("0") or not found[2].strip("0"):
        return None
    return found[0]


def write(trace_id: int, span_id: int, flags: int) -> str:
    """The value that names a span."""
    return f"00-{trace_id:032x}-{span_id:016x}-{flags:02x}"
