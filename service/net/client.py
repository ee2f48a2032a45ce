"""The provider client: sends what an adapter asks for, and says of every failure whether anything may have been bought.

It speaks through httpcore, one layer below httpx.AsyncClient, so that there is nothing to switch off: no redirects,
cookies, proxies from the environment or decompression exist here. A purchase gets a connection of its own, the deadline
of its submission, and the guard at the socket (`dial`).
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar
from urllib.parse import urlencode

import httpcore

from service.net.dial import ERRAND, Backend, DeadlinePassed, Errand, boottime
from service.net.form import form
from service.net.guard import Blocked, NetError, Policy, Target
from service.net.resolver import ResolveFailed, Resolver
from service.providers.base import Ask, Flow, Reply

LARGEST_REPLY = 1 << 20
MASK = "****"  # where a secret would stand
SHORTEST_MASKED = 12  # characters
_CONNECTIONS_PER_ORIGIN = 32
_KEEPALIVE_SECONDS = 4.0  # below the 5 s after which Node's servers hang up
_DETAIL_LENGTH = 300

T = TypeVar("T")


class NeverSent(NetError):
    """No byte of the request left this machine, so nothing can have been bought."""


class FateUnknown(NetError):
    """Something left and no readable answer came back; if it was a purchase, it may have been made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """Where and as whom an account is asked. The key travels in a header to `base_url` and nowhere else."""

    name: str
    base_url: str
    api_key: str = field(repr=False)

    def __post_init__(self) -> None:
        if not self.api_key or not self.api_key.isascii() or not self.api_key.isprintable() or " " in self.api_key:
            raise ValueError(
                f"the API key of account {self.name} is empty or holds a space, a line break or non-ASCII text"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A request as it would be sent, for people."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: Mapping[str, object] | None


class ProviderClient:
    """Drives adapters' flows over the network. Belongs to one event loop."""

    def __init__(
        self,
        policy: Policy,
        resolver: Resolver,
        *,
        user_agent: str,
        boottime: Callable[[], float] = boottime,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._policy = policy
        self._user_agent = user_agent
        self._boottime = boottime
        self._ssl_context = ssl_context or ssl.create_default_context()
        self._backend = Backend(resolver, boottime)
        # One pool an origin: a provider that hangs uses up its own connections only.
        self._pools: dict[str, httpcore.AsyncConnectionPool] = {}

    async def aclose(self) -> None:
        while self._pools:
            await self._pools.popitem()[1].aclose()

    async def drive(
        self, flow: Flow[T], channel: Channel, *, timeout_seconds: float, deadline: float | None = None
    ) -> T:
        """Send what `flow` asks and return what it read, all within `timeout_seconds`.

        `deadline`: by CLOCK_BOOTTIME; no byte of a paid request leaves after it. Raises `NeverSent`, `FateUnknown`, or
        what the adapter raises.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_seconds
        if deadline is None:
            deadline = self._boottime() + timeout_seconds
        paid_left = False
        try:
            ask = next(flow)
            while True:
                errand = Errand(policy=self._policy, deadline=deadline if ask.paid else None)
                try:
                    reply = await self._exchange(ask, channel, errand, until)
                except NeverSent as failure:
                    if paid_left:  # this request never left, but the purchase before it did
                        raise FateUnknown(f"after a purchase: {failure}") from failure
                    raise
                paid_left = paid_left or ask.paid
                ask = flow.send(reply)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            flow.close()

    async def _exchange(self, ask: Ask, channel: Channel, errand: Errand, until: float) -> Reply:
        """One request and its whole reply, or one of our two errors."""
        if errand.deadline is not None:
            until = min(until, asyncio.get_running_loop().time() + errand.deadline - self._boottime())
        token = ERRAND.set(errand)
        try:
            async with asyncio.timeout_at(until):
                target = self._aim(ask, channel)
                errand.policy = self._policy.inside() if target.inside_only else self._policy
                return _without(channel.api_key, await self._send(ask, target, self._request(ask, target, channel)))
        except Exception as error:  # whatever it was: what matters is whether a byte had left
            failure = FateUnknown if errand.left else NeverSent
            raise failure(f"{channel.name}: {_say(error)}"[:_DETAIL_LENGTH]) from error
        finally:
            ERRAND.reset(token)

    def _aim(self, ask: Ask, channel: Channel) -> Target:
        """The judged URL of a request. The slash ends the host, so an adapter cannot choose where the key goes."""
        if not ask.path.startswith("/") or "?" in ask.path or "#" in ask.path:
            raise Blocked("a request path starts with / and holds no ? or #")
        query = f"?{urlencode(ask.query)}" if ask.query else ""
        return self._policy.judge_url(channel.base_url.rstrip("/") + ask.path + query)

    def _request(self, ask: Ask, target: Target, channel: Channel) -> httpcore.Request:
        headers, body = self._written(ask, target, channel.api_key)
        url = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
        return httpcore.Request(ask.method, url, headers=headers, content=body)

    def _written(self, ask: Ask, target: Target, key: str) -> tuple[list[tuple[str, str]], bytes]:
        headers = [
            ("Host", target.origin.partition("://")[2]),
            ("Authorization", f"Bearer {key}"),
            ("User-Agent", self._user_agent),
            ("Accept", "application/json"),
            ("Accept-Encoding", "identity"),
        ]
        body = b""
        if ask.body is not None:
            body = json.dumps(ask.body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
            headers.append(("Content-Type", "application/json"))
        elif ask.file is not None:
            form_type, body = form(ask.file)
            headers.append(("Content-Type", form_type))
        if body or ask.method in ("POST", "PUT", "PATCH"):
            headers.append(("Content-Length", str(len(body))))
        return headers, body

    def preview(self, ask: Ask, channel: Channel) -> Preview:
        """What `drive` would send, with the key masked. Raises `Blocked` where it would refuse to."""
        target = self._aim(ask, channel)
        headers, _ = self._written(ask, target, MASK)
        return Preview(method=ask.method, url=target.url, headers=dict(headers), body=ask.body)

    async def _send(self, ask: Ask, target: Target, request: httpcore.Request) -> Reply:
        if not ask.paid:
            pool = self._pools.get(target.origin)
            if pool is None:
                pool = self._pools[target.origin] = self._pool(_CONNECTIONS_PER_ORIGIN)
            return await _read(await pool.handle_async_request(request))
        # A fresh connection: a pooled one may be closing just now, and then nobody knows whether the purchase was read.
        async with self._pool(0) as fresh:
            return await _read(await fresh.handle_async_request(request))

    def _pool(self, keep: int) -> httpcore.AsyncConnectionPool:
        return httpcore.AsyncConnectionPool(
            ssl_context=self._ssl_context,
            max_connections=_CONNECTIONS_PER_ORIGIN,
            max_keepalive_connections=keep,
            keepalive_expiry=_KEEPALIVE_SECONDS,
            network_backend=self._backend,
        )


class _BadAnswer(NetError):
    """The answer broke a rule of ours about its form."""


def _without(key: str, reply: Reply) -> Reply:
    """The reply with our key masked where it is quoted: what a provider says is kept, and shown to whoever made the task.

    A short word stays: it may be part of what is said, such as a host's name.
    """
    if len(key) < SHORTEST_MASKED or key.encode() not in reply.body:
        return reply
    return replace(reply, body=reply.body.replace(key.encode(), MASK.encode()))


async def _read(response: httpcore.Response) -> Reply:
    try:
        headers = _headers(response)
        if headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
            raise _BadAnswer("the reply is compressed, though only plain bytes were asked for")
        body = bytearray()
        async for chunk in response.aiter_stream():
            body += chunk
            if len(body) > LARGEST_REPLY:
                raise _BadAnswer(f"the reply is larger than {LARGEST_REPLY} bytes")
        return Reply(status=response.status, headers=headers, body=bytes(body))
    finally:
        await response.aclose()


def _headers(response: httpcore.Response) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in response.headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _say(error: BaseException) -> str:
    """One line for people. Texts of h11 are left out: they quote the peer's bytes, or our own headers with the key."""
    match error:
        case Blocked() | ResolveFailed() | DeadlinePassed() | _BadAnswer():
            return str(error)
        case httpcore.ConnectError() | httpcore.ConnectTimeout():
            return f"could not connect: {error}"
        case httpcore.ReadError() | httpcore.WriteError():
            return f"the connection broke: {error}"
        case httpcore.RemoteProtocolError():
            return "the connection was closed, or what came back is not HTTP, before the reply was complete"
        case TimeoutError():
            return "no complete reply in time"
        case _:
            return f"unforeseen ({type(error).__name__})"
