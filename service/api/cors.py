"""Which web pages' scripts may read our answers: none, unless their origins are named (CORS_ORIGINS).

A page would need an API key to have anything to read, and a key in a page is everybody's: meant for tools inside one's own house.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from starlette.responses import Response
from starlette.types import Scope

Headers = list[tuple[bytes, bytes]]

EXPOSED = (
    b"etag, link, location, openai-poll-after-ms, preference-applied, ratelimit, ratelimit-policy, retry-after, retry-after-ms, "
    b"taskrelay-kept-until, taskrelay-replayed, x-request-id, x-should-retry"
)
METHODS = "GET, HEAD, POST, PATCH, DELETE"
REMEMBERED_SECONDS = 600
NAMES = re.compile(rb"[A-Za-z0-9-]{1,64}(?:[ ]*,[ ]*[A-Za-z0-9-]{1,64}){0,40}")


class Cors:
    """Exact origins, and what is said to them. Cookies play no part, so nobody is ever told to send any."""

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = frozenset(origin.encode("ascii") for origin in origins)

    def headers(self, scope: Scope) -> Headers:
        """What the answer to this request says of it; nothing at all where no origin is named."""
        if not self._origins:
            return []
        origin = _one(scope["headers"], b"origin")
        if origin not in self._origins:
            return [(b"vary", b"origin")]
        return [
            (b"vary", b"origin"),
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", EXPOSED),
        ]

    def preflight(self, scope: Scope) -> Response | None:
        """The answer to a browser that asks before it sends; None where this is not such a question of one who may."""
        if not self._origins or scope["method"] != "OPTIONS":
            return None
        wanted = _one(scope["headers"], b"access-control-request-method")
        if not wanted or _one(scope["headers"], b"origin") not in self._origins:
            return None
        headers = {"access-control-allow-methods": METHODS, "access-control-max-age": str(REMEMBERED_SECONDS)}
        names = _one(scope["headers"], b"access-control-request-headers")
        if NAMES.fullmatch(names):
            headers["access-control-allow-headers"] = names.decode("ascii")
        return Response(status_code=204, headers=headers)


def _one(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes:
    """The header's value; nothing where it is stated twice, or not at all."""
    found = [value for stated, value in headers if stated == name]
    return found[0].strip() if len(found) == 1 else b""
