"""Bodies on their way in: counted while they come, each against its own limit and all of them against one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import Request

from service.api.problems import Problem

MIB = 1024 * 1024


class Intake:
    """How much of unfinished bodies is in memory. Each may be small; a thousand of them at once are not."""

    def __init__(self, most: int = 64 * MIB) -> None:
        self.most = most
        self.held = 0

    @contextmanager
    def body(self) -> Iterator[Body]:
        """One body, until what it became has been read."""
        body = Body(self)
        try:
            yield body
        finally:
            self.held -= len(body.kept)


class Body:
    """What has come of one body."""

    __slots__ = ("_intake", "kept")

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self.kept = bytearray()

    def take(self, chunk: bytes) -> None:
        """Keep more of it. Raises `Problem` when there is no room for all that comes at once."""
        if chunk and self._intake.held + len(chunk) > self._intake.most:
            detail = "Too many bodies are being received just now. Send it again."
            raise Problem("unavailable", detail, headers={"retry-after": "2", "connection": "close"})
        self._intake.held += len(chunk)
        self.kept += chunk


BODIES = Intake()  # of this process: its memory is one, whoever sends


async def receive(request: Request, *, most: int, seconds: float, too_large: Problem, into: Intake = BODIES) -> bytes:
    """A whole body. Raises `Problem`: `too_large` past `most` bytes, stated or counted, and when it does not come in time."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > most:
        raise too_large
    with into.body() as body:
        try:
            async with asyncio.timeout(seconds):
                async for chunk in request.stream():
                    body.take(chunk)
                    if len(body.kept) > most:
                        raise too_large
        except TimeoutError:
            detail = f"The body did not arrive within {seconds:g} seconds. Send it again."
            raise Problem("too_slow", detail, headers={"connection": "close"}) from None
        return bytes(body.kept)


def refuse_encoded(request: Request) -> None:
    """Raises `Problem` for a body that would have to be unpacked: who packs decides how much comes out."""
    stated = ", ".join(request.headers.getlist("content-encoding"))
    if stated.strip().lower() not in ("", "identity"):
        raise Problem("unsupported_media_type", "Send the body without Content-Encoding.")
