"""What a connection says by itself, before or instead of the application: problems (RFC 9457), each the last word on its connection."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

import orjson

HEAD_BYTES = 16 * 1024
HEADERS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A whole answer. `code` is one of the API's own, so that clients meet one list."""

    status: int
    code: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def raw(self, default: list[tuple[bytes, bytes]]) -> bytes:
        """The answer as it goes over the wire. `default`: the headers of every answer."""
        lines = [b"HTTP/1.1 %d %s" % (self.status, HTTPStatus(self.status).phrase.encode())]
        lines += [b"%s: %s" % header for header in (*default, *self.headers)]
        return b"\r\n".join(lines) + b"\r\n\r\n" + self.body


def _refusal(status: int, code: str, title: str, detail: str, *more: tuple[bytes, bytes]) -> Refusal:
    problem = {"type": f"/docs/problems#{code}", "title": title, "status": status, "detail": detail, "code": code}
    body = orjson.dumps(problem)
    headers = (
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"connection", b"close"),
        *more,
    )
    return Refusal(status=status, code=code, headers=headers, body=body)


def _malformed(detail: str) -> Refusal:
    return _refusal(400, "malformed_request", "This is not a request that we read", detail)


AGAIN = (b"retry-after", b"5")
FULL = _refusal(503, "unavailable", "Unavailable for the moment", "Too many connections are open. Try again.", AGAIN)
CROWDED = _refusal(
    429,
    "too_many_connections",
    "Too many connections",
    "Your address holds too many connections. Close some, or use one for many requests.",
    AGAIN,
)
STOPPING = _refusal(503, "unavailable", "Unavailable for the moment", "This process is stopping. Try again.", AGAIN)
TOO_SLOW = _refusal(408, "too_slow", "The request came too slowly", "Its head did not arrive in time. Send it again.")
TOO_LARGE = _refusal(
    431, "too_large", "The head is too large", f"At most {HEADERS} headers and {HEAD_BYTES} bytes before the body."
)
MALFORMED = _malformed("This is not HTTP/1.1 as RFC 9112 has it. Let a library write it.")
VERSION = _malformed("This server speaks HTTP/1.1 and HTTP/1.0 only.")
HOST = _malformed("A request has one Host header, which names a host and nothing else.")
TARGET = _malformed("The request line names a path that begins with a slash, without a fragment.")
METHOD = _malformed("This server is no proxy: there is no CONNECT.")
CODING = _malformed("Transfer-Encoding may be chunked, of HTTP/1.1, and nothing else.")
FRAMING = _malformed("Far more framing than body: send larger chunks, without extensions and trailers.")
PIPELINE = _malformed("Too many requests were sent before the first was answered.")
