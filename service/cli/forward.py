"""Hands an event to a receiver on the developer's machine, signed and headed as a delivery is."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from service.cli.client import this_machine, why
from service.cli.feed import Happened
from service.cli.terminal import USAGE, Stop
from service.core import delivery, signature

if TYPE_CHECKING:
    import httpx

WAITS = (1.0, 3.0, 10.0)  # before each further try; the event stays in the feed whatever becomes of it
SECONDS = 15.0  # what a delivery waits for an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarded:
    """What became of one event. `why`: None when it was taken."""

    status: int | None
    why: str | None
    tries: int
    milliseconds: int


class Forwarder:
    """One receiver. Use it as a context. `secret`: what signs; `clock`: seconds since the epoch."""

    def __init__(
        self,
        url: str,
        secret: str,
        *,
        note: Callable[[str], None],
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
        waits: Sequence[float] = WAITS,
        seconds: float = SECONDS,
    ) -> None:
        self.url, self._note, self._pause, self._clock, self._waits = url, note, pause, clock, tuple(waits)
        self._seconds = seconds
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Stop(f"--forward-to: {url!r} is not a URL; it looks like http://127.0.0.1:3000/hooks", USAGE)
        self._here = this_machine(parts.hostname)
        try:
            self._key = signature.decode_secret(secret)
        except signature.BadSecret as error:
            raise Stop(f"--secret: {error}", USAGE) from None

    def __enter__(self) -> Forwarder:
        import httpx

        # What is on this machine is not asked for through a proxy.
        self._client = httpx.Client(
            timeout=httpx.Timeout(self._seconds, connect=5.0),
            headers={"accept-encoding": "identity"},
            trust_env=not self._here,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def send(self, event: Happened) -> Forwarded:
        """Try until it is taken or the tries are used up; each is signed anew, with the same id and bytes."""
        number = 0
        while True:
            number += 1
            began = time.monotonic()
            status, problem = self._try(event, number)
            spent = round((time.monotonic() - began) * 1000)
            if problem is None or number > len(self._waits):
                return Forwarded(status=status, why=problem, tries=number, milliseconds=spent)
            wait = self._waits[number - 1]
            self._note(f"{event.id} was not taken ({problem}); again in {wait:g} s")
            self._pause(wait)

    def _try(self, event: Happened, number: int) -> tuple[int | None, str | None]:
        import httpx

        try:
            with self._client.stream(
                "POST", self.url, content=event.body, headers=self._headers(event, number)
            ) as reply:
                return reply.status_code, None if reply.is_success else _unwanted(reply)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            return None, why(error)

    def _headers(self, event: Happened, number: int) -> dict[str, str]:
        from service import __version__

        stamp = int(self._clock())
        signed = signature.sign([self._key], event.id, stamp, event.body)
        return delivery.headers_for(event.id, stamp, signed, number, event.type, f"taskrelay-listen/{__version__}")


def _unwanted(reply: httpx.Response) -> str:
    if reply.is_redirect:
        return f"{reply.status_code}: redirects are not followed, name the address it leads to"
    return f"{reply.status_code} {reply.reason_phrase}".rstrip()
