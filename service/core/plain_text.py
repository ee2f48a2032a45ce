"""Text that can be kept and shown: what neither engine, no encoding and no reader of a log can be asked to hold.

PostgreSQL refuses NUL, UTF-8 cannot carry half of a surrogate pair, control characters move a terminal's cursor, and characters that
turn the direction of what follows make a line read as something else (CVE-2021-42574). Marks of direction (U+200E, U+200F, U+061C) are
part of writing Arabic and Hebrew, and stay. One rule for both doors: clients are refused, providers' words are kept with U+FFFD instead.
"""

from __future__ import annotations

import re
from typing import Final

_UNUSABLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def unusable(text: str) -> tuple[str, int] | None:
    """The first character in it that may not be, in words that follow "this holds", and where it stands; None when all may."""
    if text.isprintable():  # nearly always, and six times as fast
        return None
    found = _UNUSABLE.search(text)
    return None if found is None else (_named(found[0]), found.start())


def _named(character: str) -> str:
    kind = "a control character"
    if character > "\x9f":
        kind = "half a surrogate pair" if character >= "\ud800" else "a character that turns text around"
    return f"{kind} (U+{ord(character):04X})"


def usable(text: str) -> str:
    """The text with U+FFFD for whatever may not be in it."""
    return text if text.isprintable() else _UNUSABLE.sub("\ufffd", text)
