"""Query parameters and cursors: typed, bounded, and refused by name when unknown."""

from __future__ import annotations

import base64
import binascii
import difflib
import re
from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl

from starlette.requests import Request

from service.core.request import Fault, Invalid, pointer, shown
from service.core.times import parse_iso

LIMIT_DEFAULT, LIMIT_MOST = 50, 200
MANY = 60  # parameters at most
LONGEST = 500
CURSOR = re.compile(r"[A-Za-z0-9_-]{1,120}")
POSITION = re.compile(r"at ([0-9]{1,18})")


class Query:
    """The parameters of one request. Each method returns a value to go on with, faulty or not; `settle` raises.

    `groups`: prefixes such as `metadata.` that take any name behind them.
    """

    def __init__(self, request: Request, known: Collection[str], *, groups: Collection[str] = ()) -> None:
        self.faults: list[Fault] = []
        self._given: dict[str, str] = {}
        raw: bytes = request.scope["query_string"]
        try:
            pairs = parse_qsl(raw.decode("latin-1"), keep_blank_values=True, max_num_fields=MANY, errors="strict")
        except ValueError:
            pairs = []
            self.faults.append(Fault(pointer="", detail="The query string cannot be read. Percent-encode it as UTF-8."))
        for name, value in pairs:
            if name not in known and not any(name.startswith(group) and name != group for group in groups):
                self._refuse(name, _unknown(name, [*known, *(f"{group}<name>" for group in groups)]))
            elif name in self._given:
                self._refuse(name, "This is given twice. Give it once.")
            elif not (name + value).isprintable() or max(len(name), len(value)) > LONGEST:
                detail = f"Name and value may each hold at most {LONGEST} characters, printable ones only."
                self._refuse(name[:LONGEST], detail)
            else:
                self._given[name] = value

    def settle(self) -> None:
        """Raise when there is any fault."""
        if self.faults:
            raise Invalid(self.faults)

    def text(self, name: str) -> str | None:
        return self._given.get(name)

    def choice(self, name: str, words: Collection[str]) -> str | None:
        """One word of a closed set."""
        value = self._given.get(name)
        if value is not None and value not in words:
            close = difflib.get_close_matches(value[:40], list(words), n=1, cutoff=0.8)
            hint = f"Did you mean {close[0]}?" if close else f"There is {', '.join(words)}."
            self._refuse(name, f'There is no {name} "{shown(value)}". {hint}')
        return value

    def choices(self, name: str, words: Collection[str]) -> tuple[str, ...]:
        """Words of a closed set, separated by commas; of a word with a dot `group.*` stands for all of its group."""
        found: list[str] = []
        for word in self._given.get(name, "").split(",") if name in self._given else ():
            meant = [one for one in words if word in (one, f"{one.partition('.')[0]}.*", "*")]
            if not meant:
                close = difflib.get_close_matches(word[:40], list(words), n=1, cutoff=0.8)
                hint = f"Did you mean {close[0]}?" if close else f"There is {', '.join(words)}."
                self._refuse(name, f'There is no {name} "{shown(word)}". {hint}')
            found += [one for one in meant if one not in found]
        return tuple(found)

    def instant(self, name: str) -> int | None:
        """Microseconds of an ISO 8601 instant."""
        value = self._given.get(name)
        at = parse_iso(value) if value is not None else None
        if value is not None and at is None:
            self._refuse(name, "This must be an instant such as 2026-11-20T21:10:00Z.")
        return at

    def whole(self, name: str, low: int, high: int, default: int) -> int:
        """A whole number."""
        value = self._given.get(name)
        if value is None:
            return default
        if not re.fullmatch(r"[0-9]{1,9}", value) or not low <= int(value) <= high:
            self._refuse(name, f"This must be a whole number from {low} to {high}.")
            return default
        return int(value)

    def limit(self) -> int:
        return self.whole("limit", 1, LIMIT_MOST, LIMIT_DEFAULT)

    def cursor(self, form: re.Pattern[str]) -> re.Match[str] | None:
        """What `after` stands for, when it is a cursor of this list."""
        value = self._given.get("after")
        if value is None:
            return None
        found = form.fullmatch(decoded(value) or "")
        if found is None:
            self._refuse(
                "after", "This is no cursor of this list. Send `next` of an earlier page as it came, or leave it out."
            )
        return found

    def group(self, prefix: str) -> Mapping[str, str]:
        """What was given behind a prefix, by name."""
        return {name.removeprefix(prefix): value for name, value in self._given.items() if name.startswith(prefix)}

    def _refuse(self, name: str, detail: str) -> None:
        self.faults.append(Fault(pointer=pointer(name), detail=detail))


def cursor(text: str) -> str:
    """An opaque cursor for a place in a list."""
    return base64.urlsafe_b64encode(text.encode("ascii")).rstrip(b"=").decode("ascii")


def position_cursor(position: int) -> str:
    """An opaque cursor for a place in the feed."""
    return cursor(f"at {position}")


def decoded(text: str) -> str | None:
    """What an opaque cursor holds; None for what is none."""
    if not CURSOR.fullmatch(text):
        return None
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        return None


def _unknown(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name[:40], list(known), n=1)
    if close:
        return f'There is no parameter "{shown(name)}". Did you mean {close[0]}?'
    there = f"There is {', '.join(sorted(known))}." if known else "This takes none."
    return f'There is no parameter "{shown(name)}". {there}'
