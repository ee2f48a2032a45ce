"""The callback door: POST /callbacks/{provider}/{token}. Bare ASGI, because every push of every task comes through here.

Order: method, provider, token, then what the headers say of the body, then the body. A stranger's request costs no database and
no reading, and gets the same answer whatever was wrong with it. An answer in the 200s leaves only after the push is on disk.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any, TypeAlias

import orjson

from service.api.context import Limits
from service.api.intake import BODIES
from service.api.problems import CODES, Problem
from service.pipeline.callback import CallbackDesk, take, take_unread
from service.pipeline.ledger import Recorded
from service.providers.base import Provider
from service.telemetry import failpoints, metrics, traces
from service.telemetry.facts import tell
from storage.errors import StorageError

log = logging.getLogger("taskrelay.callback")

Message: TypeAlias = dict[str, Any]
Headers: TypeAlias = Collection[tuple[bytes, bytes]]
LONGEST_PATH = 400
TROUBLE = frozenset({"too_large", "encoded", "too_slow", "unavailable", "error"})

_SECONDS = metrics.callback_seconds.labels()


NOBODY = b"req_" + b"0" * 26  # stands where a request's own id comes; as long, so that the length is right


class Said:
    """A whole response, built once but for the id of the request."""

    __slots__ = ("_body", "_headers", "_start", "result")

    def __init__(
        self,
        status: int,
        body: bytes,
        *more: tuple[bytes, bytes],
        media_type: bytes = b"application/json",
        result: str = "kept",
    ) -> None:
        self.result = result  # as it is counted
        headers = [
            (b"content-type", media_type),
            (b"content-length", str(len(body)).encode()),
            (b"x-content-type-options", b"nosniff"),
            *more,
        ]
        self._start: Message = {"type": "http.response.start", "status": status}
        self._headers = headers
        self._body = body

    def to(self, request_id: str) -> tuple[Message, Message]:
        """The two messages of an answer to this request. A refusal names it in its body too, as every problem does."""
        stated = request_id.encode("ascii")
        headers = [*self._headers, (b"x-request-id", stated)]
        body = self._body.replace(NOBODY, stated, 1) if len(self._body) > 2 else self._body
        return {**self._start, "headers": headers}, {"type": "http.response.body", "body": body}


def _refusal(result: str, code: str, detail: str, base: str, *more: tuple[bytes, bytes]) -> Said:
    kind = CODES[code]
    body = {
        "type": f"{base}/docs/problems#{code}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "code": code,
        "request_id": NOBODY.decode(),
    }
    return Said(kind.status, orjson.dumps(body), *more, media_type=b"application/problem+json", result=result)


class Door:
    """Where providers push."""

    def __init__(
        self,
        desk: CallbackDesk,
        limits: Limits,
        base: str,
        refused: Callable[[StorageError], None] = lambda error: None,
        *,
        mint: Callable[[str], str],
    ) -> None:
        """`refused`: hears of every push that could not be stored. `mint`: a new id for a prefix."""
        self._mint = mint
        self._desk = desk
        self._refused = refused
        self._most = limits.callback_bytes
        self._body_seconds = limits.body_seconds
        again = (b"retry-after", b"5")
        self._kept = Said(200, b"{}")
        self._orphan = Said(202, b"{}", result="orphan")
        self._not_post = _refusal("not_post", "method_not_allowed", "This path takes POST.", base, (b"allow", b"POST"))
        self._nothing = _refusal("unknown", "not_found", "There is nothing at this path.", base)
        self._too_large = _refusal(
            "too_large", "too_large", f"At most {self._most} bytes. We ask for the state instead.", base
        )
        self._encoded = _refusal(
            "encoded", "unsupported_media_type", "Send it unencoded. We ask for the state instead.", base
        )
        slow = "The body did not arrive in time."
        self._too_slow = _refusal("too_slow", "too_slow", slow, base, (b"connection", b"close"))
        full = "It could not be stored just now. Send it again."
        self._unavailable = _refusal("unavailable", "unavailable", full, base, again)
        self._internal = _refusal("error", "internal", "Something went wrong here. Send it again.", base, again)

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        began = time.perf_counter()
        try:
            said = await self._answer(scope, receive)
        except StorageError as error:
            self._refused(error)
            said = self._unavailable
        except Problem:  # no room for one body more
            said = self._unavailable
        except TimeoutError:
            said = self._too_slow
        except Exception:
            log.exception("a push could not be taken")
            said = self._internal
        self._count(scope["path"], said, time.perf_counter() - began)
        if said is not None:
            for message in said.to(self._mint("req")):
                await send(message)

    def _count(self, path: str, said: Said | None, seconds: float) -> None:
        """Count a push, and say which was refused. Of a stranger's only in detail: they may be as many as they like."""
        named = path.split("/", 3)[2]
        provider = named if named in self._desk.providers else "none"
        result = said.result if said is not None else "gone"
        metrics.callbacks.labels(provider, result).inc()
        _SECONDS.observe(seconds)
        level = logging.WARNING if result in TROUBLE else logging.DEBUG
        if log.isEnabledFor(level):
            tell(log, f"callback {result}", level, provider=provider, ms=round(seconds * 1000, 1))

    async def _answer(self, scope: Message, receive: Callable[[], Awaitable[Message]]) -> Said | None:
        """What to say, once that is true; None when the sender went away in the middle."""
        if scope["method"] != "POST":
            return self._not_post
        path: str = scope["path"]
        parts = path.split("/") if len(path) <= LONGEST_PATH else ()
        if len(parts) != 4:
            return self._nothing
        provider = self._desk.providers.get(parts[2])
        submission_id = self._desk.read_token(provider.name, parts[3]) if provider is not None else None
        if submission_id is None or provider is None:
            return await self._stranger(parts[3], scope, receive) if provider is not None else self._nothing
        headers = _headers(scope["headers"])
        if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            await take_unread(provider, submission_id, "an encoded body was refused", self._desk)
            return self._encoded
        stated = headers.get("content-length", "")
        if stated.isdecimal() and int(stated[:20]) > self._most:
            return await self._refuse_size(provider, submission_id, stated[:20])
        body = await self._body(receive)
        if body is None:
            return None
        if len(body) > self._most:
            return await self._refuse_size(provider, submission_id, f"more than {self._most}")
        failpoints.reach("before_push")
        began = time.perf_counter()
        recorded: Recorded = await take(provider, submission_id, headers, body, self._desk)
        failpoints.reach("after_push")
        if traces.on() and recorded.task is not None:
            took, about = time.perf_counter() - began, recorded.task
            traces.note("callback", about.traceparent, took, "server", task=about.id, provider=provider.name)
        return self._orphan if recorded.task is None else self._kept

    async def _stranger(self, token: str, scope: Message, receive: Callable[[], Awaitable[Message]]) -> Said | None:
        """Nothing is there, unless it is `doctor` that asks whether a push would get through to us, whole."""
        if self._desk.echo(token, b"") is None:
            return self._nothing
        body = await self._body(receive)
        if body is None:
            return None
        said = {"probe": self._desk.echo(token, body), "bytes": len(body), **_way(scope)}
        return Said(200, orjson.dumps(said))

    async def _refuse_size(self, provider: Provider, submission_id: str, size: str) -> Said:
        await take_unread(provider, submission_id, f"a body of {size} bytes was refused", self._desk)
        return self._too_large

    async def _body(self, receive: Callable[[], Awaitable[Message]]) -> bytes | None:
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            return bytes(message.get("body", b""))  # nearly always: it came with the headers
        async with asyncio.timeout(self._body_seconds):
            with BODIES.body() as body:
                while message["type"] == "http.request":
                    body.take(message.get("body", b""))
                    if len(body.kept) > self._most or not message.get("more_body", False):
                        return bytes(body.kept)
                    message = await receive()
        return None


def _way(scope: Message) -> dict[str, object]:
    """Who it came from, and whether a proxy said of whom that we do not believe: then all its clients are one to us.

    One that is believed has no port: what is told is the client behind it, of which no port is known.
    """
    client = scope.get("client")
    told = any(name in (b"x-forwarded-for", b"forwarded") for name, _ in scope["headers"])
    return {"client": client[0], "unbelieved_proxy": told and client[1] != 0} if client else {}


def _headers(raw: Headers) -> dict[str, str]:
    """Names are lower-cased by the server. A header stated twice is one with both values (RFC 9110 §5.3)."""
    found = {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}
    if len(found) == len(raw):
        return found  # nearly always: none is stated twice
    found = {}
    for name, value in raw:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found
