"""Follows the feed for as long as its reader likes: as a stream, where that does not come through by asking again and again.

It never ends by itself and never goes on silently: what breaks is told, and taken up again from the last event that was dealt with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.cli.client import Api, why
from service.cli.refusal import refusal
from service.cli.sse import Blocks
from service.cli.terminal import UNREACHABLE, Stop

if TYPE_CHECKING:
    import httpx

STREAM, LIST = "/v1/events/stream", "/v1/events"
QUIET_SECONDS = 40.0  # the stream gives a sign of life every 15 s
WAIT_SECONDS = 25  # below what a client waits for an answer
PAGE = 100
ASK_FOR_SECONDS = 300.0  # after a refused stream, before it is tried again
WAITS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
FINAL = frozenset({400, 401, 403, 404, 410, 422})  # from taskrelay itself: the same request will meet them again


@dataclass(frozen=True, slots=True)
class Happened:
    """One event, with the bytes that are signed."""

    id: str
    type: str
    body: bytes


class Lost(Exception):
    """The line is broken. What is missed meanwhile comes after it is mended."""


class Feed:
    """`after`: the place behind which to go on, a cursor or an event's id; it moves on once a reader asks for more.

    `wanted`: `type`, `task` and `created_after` of the API. `note`: told what a person should know.
    """

    def __init__(
        self,
        api: Api,
        *,
        wanted: Mapping[str, str | None],
        after: str | None,
        note: Callable[[str], None],
        pause: Callable[[float], None] = time.sleep,
        quiet_seconds: float = QUIET_SECONDS,
    ) -> None:
        self.after = after
        self._api, self._wanted, self._note, self._pause = api, dict(wanted), note, pause
        self._quiet = quiet_seconds
        self._ask_until = 0.0
        self._told: str | None = None  # why the stream was left, so that it is said once

    def __iter__(self) -> Iterator[Happened | None]:
        """Events, and None as a sign that all is well though nothing happened. Raises `Stop` for what will not mend itself."""
        failures = 0
        while True:
            asking = time.monotonic() < self._ask_until
            try:
                for one in self._asked() if asking else self._streamed():
                    if failures:
                        self._note("connected again")
                        failures = 0
                    yield one
                    if one is not None:
                        self.after = one.id
                if asking or time.monotonic() < self._ask_until:
                    continue
                reason = "the stream ended"
            except Lost as lost:
                reason = str(lost)
            wait = WAITS[min(failures, len(WAITS) - 1)]
            failures += 1
            self._note(f"{reason}; connecting again in {wait:g} s")
            self._pause(wait)

    def _streamed(self) -> Iterator[Happened | None]:
        import httpx

        headers = {"accept": "text/event-stream", "accept-encoding": "identity"}
        if self.after is not None:
            headers["last-event-id"] = self.after
        heard, blocks = False, Blocks()
        try:
            with self._api.stream(STREAM, self._wanted, headers, quiet_seconds=self._quiet) as reply:
                if reply.status_code != 200 or not reply.headers.get("content-type", "").startswith(headers["accept"]):
                    reply.read()
                    self._refused(reply)
                    return
                for part in reply.iter_bytes():
                    heard = True
                    for block in blocks.feed(part):
                        if block.data is not None and block.id is not None:
                            yield Happened(block.id, block.event or "message", block.data)
                            continue
                        self.after = block.id or self.after
                        yield None
        except httpx.ReadTimeout:
            if heard:
                raise Lost(f"nothing was heard for {self._quiet:g} s") from None
            self._leave("the stream does not come through, something in between holds it back", float("inf"))
        except (httpx.TransportError, httpx.StreamError, httpx.DecodingError, ValueError) as error:
            raise Lost(f"the line broke ({why(error)})") from None

    def _refused(self, reply: httpx.Response) -> None:
        text, code, facts = refusal(reply)
        if facts.get("code") and facts.get("status") in FINAL:
            raise Stop(text, code, facts)
        self._leave(f"the stream is refused ({facts.get('status')})", ASK_FOR_SECONDS)

    def _leave(self, reason: str, seconds: float) -> None:
        self._ask_until = time.monotonic() + seconds
        if reason != self._told:
            self._note(f"{reason}: asking {LIST} instead, nothing is missed")
            self._told = reason

    def _asked(self) -> Iterator[Happened | None]:
        """The same by long polls. Bodies are fetched one by one, because only that answer is them byte for byte."""
        try:
            if self.after is None and self._wanted.get("created_after") is None:
                self.after = self._api.get(LIST, {"order": "desc", "limit": 1})["next"]
            while time.monotonic() < self._ask_until:
                page = self._api.get(LIST, {**self._wanted, "after": self.after, "limit": PAGE, "wait": WAIT_SECONDS})
                for one in page["data"]:
                    yield Happened(one["id"], one["type"], self._api.content(f"{LIST}/{one['id']}"))
                self.after = page["next"]
                yield None
        except Stop as stop:
            if stop.code == UNREACHABLE or (stop.facts or {}).get("status") not in FINAL:
                raise Lost(stop.text.splitlines()[0]) from None
            raise


def missed(api: Api, wanted: Mapping[str, str | None], after: str, *, pages: int = 5) -> tuple[int, bool]:
    """How many events follow a place by now, and whether there are more than were counted."""
    count = 0
    for _ in range(pages):
        page = api.get(LIST, {**wanted, "after": after, "limit": 200})
        count, after = count + len(page["data"]), page["next"]
        if not page["has_more"]:
            return count, False
    return count, True
