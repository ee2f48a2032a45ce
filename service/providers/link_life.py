"""Until when a link to an output is good: what the link itself says, and what a contract's documents say of its kind.

| contract | its documents say | a link says |
|---|---|---|
| Cloudsway | 30 days (Kling's own pages) | `ksTime` of its samples: 30 days after the end |
| AceData | 30 days from the end, on one page of theirs that no other confirms | nothing |
| UlazAI | nothing | nothing |
| API in One | nothing | nothing |

Any of them may hand on a link that its store signed for a time. The usual signatures state it, and are read whoever sent the link.
"""

from __future__ import annotations

import re
from typing import Final

from service.core.times import DAY, LAST, SECOND, from_calendar

ACEDATA_LIFE: Final = 30 * DAY

_KLING = re.compile(r"[?&]ksTime=([0-9a-fA-F]{8})(?![^&#])")
# S3 before its fourth signature, CloudFront, Aliyun OSS, Google: unix seconds.
_INSTANT = re.compile(r"[?&]Expires=([0-9]{10})(?![^&#])")
# Signature version 4 of Amazon and of those who took it over, and Google's: from when, and for how many seconds.
_SIGNED = re.compile(r"[?&]X-(?:Amz|Goog)-Date=([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})Z(?![^&#])")
_SECONDS = re.compile(r"[?&]X-(?:Amz|Goog)-Expires=([0-9]{1,7})(?![^&#])")


def of_link(url: str) -> int | None:
    """What the link itself says; None when it says nothing that is known."""
    if "ksTime=" in url and (stated := _KLING.search(url)) is not None:
        return int(stated[1], 16) * SECOND
    if "Expires=" not in url:
        return None
    if (stated := _INSTANT.search(url)) is not None:
        return int(stated[1]) * SECOND
    signed, seconds = _SIGNED.search(url), _SECONDS.search(url)
    if signed is None or seconds is None:
        return None
    year, month, day, hour, minute, second = map(int, signed.groups())
    signed_at = from_calendar(year, month, day, hour, minute, second)
    return None if signed_at is None else signed_at + int(seconds[1]) * SECOND


def after(ended: float, life: int) -> int | None:
    """The end of a life that a contract's documents count from a job's end, in its provider's unix seconds."""
    if not 0 < ended * SECOND <= LAST - life:
        return None
    return int(ended * SECOND) + life
