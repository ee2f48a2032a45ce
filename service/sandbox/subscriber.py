"""A subscriber that trusts nobody: takes events at any path, checks each signature with the published library, keeps a record."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from standardwebhooks import Webhook, WebhookVerificationError

MOST_BODY = 1 << 20
KEPT_BODY = 32_768
MOST_SECRETS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One POST as it came. `valid`: the signature fits one of the secrets; `reason`: why not."""

    path: str
    webhook_id: str | None
    sha256: str  # of the body: every attempt of an event must have the same
    body: str
    headers: Mapping[str, str]
    received_at: float
    valid: bool
    reason: str | None
    status: int | None  # what was answered; None: nothing


@dataclass(slots=True, kw_only=True)
class Answers:
    """How the next `times` events are answered. `status` None: not at all, the connection hangs."""

    status: int | None = 204
    times: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)


class Subscriber:
    """What one subscriber knows: its secrets, what it received, and how it answers."""

    def __init__(self, *secrets: str, clock: Callable[[], float] = time.time) -> None:
        self._webhook, self._refusal = _published_library()
        self.clock = clock
        self.received: deque[Received] = deque(maxlen=10_000)
        self.answers = Answers()
        self.arrived = asyncio.Condition()
        self.trust(secrets)

    def trust(self, secrets: Sequence[str]) -> None:
        """Accept signatures made with any of these. Raises ValueError for what is not a secret."""
        if not all(secret.removeprefix("whsec_") for secret in secrets):
            raise ValueError("a secret is empty")
        self._verifiers = [self._webhook(secret) for secret in secrets]

    def judge(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """None when the signature is valid, otherwise why it is not."""
        reason = "no secret is set: PUT /_secret"
        for verifier in self._verifiers:
            try:
                verifier.verify(body, dict(headers))
            except (self._refusal, ValueError) as error:
                reason = f"{type(error).__name__}: {error}"
            else:
                return None
        return reason

    def answer(self) -> Answers:
        """How to answer this one."""
        if self.answers.times < 1:
            return Answers()
        self.answers.times -= 1
        return self.answers

    async def until(self, count: int) -> None:
        """Until so many events have come."""
        async with self.arrived:
            await self.arrived.wait_for(lambda: len(self.received) >= count)


def create_subscriber_app(subscriber: Subscriber) -> Starlette:
    """Serve a subscriber: any POST is an event; the routes with an underscore are for whoever runs it."""
    door = Door(subscriber)
    return Starlette(
        routes=[
            Route("/_received", door.list_received, methods=["GET"]),
            Route("/_secret", door.set_secret, methods=["PUT"]),
            Route("/_answers", door.set_answers, methods=["PUT"]),
            Route("/_reset", door.reset, methods=["POST"]),
            Route("/{path:path}", door.take, methods=["POST"]),
        ]
    )


@dataclass(frozen=True, slots=True)
class Door:
    """The routes."""

    subscriber: Subscriber

    async def take(self, request: Request) -> Response:
        body = await _read(request)
        if body is None:
            return Response(status_code=413)
        answers = self.subscriber.answer()
        headers = {name: value for name, value in request.headers.items() if name not in ("authorization", "cookie")}
        reason = self.subscriber.judge(headers, body)
        self.subscriber.received.append(
            Received(
                path=request.url.path,
                webhook_id=headers.get("webhook-id"),
                sha256=hashlib.sha256(body).hexdigest(),
                body=body[:KEPT_BODY].decode(errors="replace"),
                headers=headers,
                received_at=self.subscriber.clock(),
                valid=reason is None,
                reason=reason,
                status=answers.status,
            )
        )
        async with self.subscriber.arrived:
            self.subscriber.arrived.notify_all()
        if answers.status is None:
            await _disconnected(request)
            return Response(status_code=503)
        return Response(status_code=answers.status, headers=dict(answers.headers))

    async def list_received(self, request: Request) -> Response:
        return Response(orjson.dumps(list(self.subscriber.received)), media_type="application/json")

    async def set_secret(self, request: Request) -> Response:
        match await _order(request):
            case {"secret": str(secret), **rest} if not rest:
                secrets = [secret]
            case {"secrets": [*several], **rest} if not rest and len(several) <= MOST_SECRETS and _texts(several):
                secrets = several
            case _:
                return _bad('send {"secret": "whsec_…"} or {"secrets": ["whsec_…", …]}')
        try:
            self.subscriber.trust(secrets)
        except ValueError:
            return _bad("a secret is whsec_ and base64")
        return Response(status_code=204)

    async def set_answers(self, request: Request) -> Response:
        match await _order(request):
            case {"status": int(status), "times": int(times), **rest} if 200 <= status <= 599:
                self.subscriber.answers = Answers(status=status, times=times, headers=_headers(rest.get("headers")))
            case {"hang": True, "times": int(times)}:
                self.subscriber.answers = Answers(status=None, times=times)
            case _:
                return _bad('send {"status": 500, "times": 3, "headers": {…}} or {"hang": true, "times": 1}')
        return Response(status_code=204)

    async def reset(self, request: Request) -> Response:
        self.subscriber.received.clear()
        self.subscriber.answers = Answers()
        return Response(status_code=204)


async def _read(request: Request) -> bytes | None:
    """The exact bytes, which is what was signed; None when there are too many."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BODY:
            return None
    return bytes(body)


async def _order(request: Request) -> object:
    try:
        return orjson.loads(await _read(request) or b"")
    except orjson.JSONDecodeError:
        return None


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue


def _headers(value: object) -> dict[str, str]:
    return {str(name): str(text) for name, text in value.items()} if isinstance(value, dict) else {}


def _texts(values: Sequence[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _bad(message: str) -> Response:
    return Response(orjson.dumps({"error": message}), 400, media_type="application/json")


def _published_library() -> tuple[type[Webhook], type[WebhookVerificationError]]:
    """The verifier is a stranger's on purpose: one of ours would share our mistakes."""
    try:
        from standardwebhooks import Webhook, WebhookVerificationError
    except ImportError as error:
        raise RuntimeError(
            "The subscriber checks signatures with the standardwebhooks package, which is not installed: "
            "pip install 'taskrelay[demo]'"
        ) from error
    return Webhook, WebhookVerificationError
