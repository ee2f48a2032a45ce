"""Instants: integer microseconds UTC inside, ISO 8601 with `Z` outside, HTTP dates from other people's servers.

The ISO form always has six digits of fraction, so that texts of instants sort like the instants.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LAST: Final = 253_402_300_799 * SECOND + 999_999  # 9999-12-31T23:59:59.999999Z, the calendar's end

ISO: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)

MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
CLOCK: Final = "(?P<clock>[0-9]{2}:[0-9]{2}:[0-9]{2})"
# The three forms a recipient must accept (RFC 9110 §5.6.7): IMF-fixdate, RFC 850, asctime.
HTTP_DATES: Final = (
    re.compile(rf"[A-Z][a-z]{{2}}, (?P<day>[0-9]{{2}}) (?P<month>[A-Z][a-z]{{2}}) (?P<year>[0-9]{{4}}) {CLOCK} GMT"),
    re.compile(rf"[A-Z][a-z]{{5,8}}, (?P<day>[0-9]{{2}})-(?P<month>[A-Z][a-z]{{2}})-(?P<year>[0-9]{{2}}) {CLOCK} GMT"),
    re.compile(rf"[A-Z][a-z]{{2}} (?P<month>[A-Z][a-z]{{2}}) (?P<day>[ 0-9][0-9]) {CLOCK} (?P<year>[0-9]{{4}})"),
)


def iso(at: int) -> str:
    """`2026-11-20T21:10:00.123456Z`. Total: what lies outside the years 1970 to 9999 is shown as the nearest instant inside.

    An expiry a provider made up must not keep a task's event from being written.
    """
    if not 0 <= at <= LAST:
        at = 0 if at < 0 else LAST
    return f"{spell_second(at // SECOND)}.{at % SECOND:06d}Z"


# Rows written together share their seconds, and all of an hour's share their day: spelling a date is what costs.
@lru_cache(maxsize=4096)
def spell_second(seconds: int) -> str:
    day, rest = divmod(seconds, 86_400)
    return f"{spell_day(day)}T{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"


@lru_cache(maxsize=512)
def spell_day(days: int) -> str:
    return (EPOCH + timedelta(days=days)).date().isoformat()


def parse_iso(text: str) -> int | None:
    """Microseconds of an RFC 3339 instant, or None when it is not one. An offset or `Z` is required.

    Digits beyond the microsecond are cut off. Instants before 1970 are not ours and count as nonsense.
    """
    found = ISO.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = map(int, found.group(1, 2, 3, 4, 5, 6))
    fraction = int((found[7] or "").ljust(6, "0")[:6])
    at = from_calendar(year, month, day, hour, minute, second)
    if at is None:
        return None
    if found[8]:
        hours, minutes = int(found[9]), int(found[10])
        if hours > 23 or minutes > 59:
            return None
        offset = hours * HOUR + minutes * MINUTE
        at += -offset if found[8] == "+" else offset
    return at + fraction if 0 <= at <= LAST else None


def parse_http_date(text: str) -> int | None:
    """Microseconds of an HTTP date in any of its three forms, or None when it is not one."""
    for form in HTTP_DATES:
        if found := form.fullmatch(text):
            break
    else:
        return None
    if found["month"] not in MONTHS:
        return None
    year = int(found["year"])
    hour, minute, second = map(int, found["clock"].split(":"))
    # Two digits are of this century: a date fifty years off means nothing to us either way.
    return from_calendar(
        year + 2000 if year < 100 else year, MONTHS.index(found["month"]) + 1, int(found["day"]), hour, minute, second
    )


def from_calendar(year: int, month: int, day: int, hour: int, minute: int, second: int) -> int | None:
    """The instant, or None when the calendar has no such day or the clock no such time."""
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    at = (moment - EPOCH) // timedelta(microseconds=1)
    return at if at >= 0 else None
