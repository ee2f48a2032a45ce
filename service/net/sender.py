"""The delivery sender: one signed POST to a subscriber, and in one word what came of it.

On aiohttp, because it is the hot path (measured: 64 µs a request against 2,500 µs for httpx at 64 in flight). Subscribers'
URLs are strangers' URLs: the host is judged as text, as DNS answers, and once more as the address a socket is made for.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from service.net.allowance import ALLOWANCE, Connector, LetGo
from service.net.dial import CONNECT_SECONDS, AddressBlocked, socket_for
from service.net.guard import Blocked, Policy
from service.net.resolver import ResolveFailed, Resolver

ATTEMPT_SECONDS = 15.0
_KEEP = 1024
_KEEPALIVE_SECONDS = (
    4.0  # below the 5 s after which Node's servers hang up: a POST into a closing connection is a lost attempt
)
_URLS_KEPT = 4096
_REDIRECTS = False  # are followed: they lead where nobody judged
_LONGEST_RETRY_AFTER = 64
# The loop's clock runs the whole attempt; aiohttp would round its own total up to a whole second (measured).
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of one attempt. `error_class` is None only for a 2xx: whatever its body does later, it was accepted."""

    status_code: int | None
    error_class: str | None  # dns, refused, reset, tls, timeout, blocked, http
    duration_ms: int
    retry_after: str | None = None
    response_head: str | None = None


class Sender:
    """Posts to subscribers. Belongs to one event loop; opens its sessions on first use."""

    def __init__(
        self,
        policy: Policy,
        resolver: Resolver,
        *,
        user_agent: str,
        limit: int = 0,
        timeout_seconds: float = ATTEMPT_SECONDS,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._policy = policy
        self._resolver = resolver
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": "identity"}
        self._limit = limit
        self._timeout_seconds = timeout_seconds
        self._ssl_context = ssl_context or ssl.create_default_context()
        self._sessions: dict[tuple[bool, bool], aiohttp.ClientSession] = {}
        self._aim = functools.lru_cache(_URLS_KEPT)(self._judge)

    async def aclose(self) -> None:
        self._aim.cache_clear()
        while self._sessions:
            await self._sessions.popitem()[1].close()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Sent:
        """One attempt, within the limit whatever the peer does. Raises nothing but CancelledError."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        status: int | None = None
        retry_after: str | None = None
        error_class: str | None = None
        head: str | None = None
        try:
            async with asyncio.timeout(self._timeout_seconds):
                kept, afresh, target = self._aim(url)
                try:
                    response = await kept.post(target, data=body, headers=headers, allow_redirects=_REDIRECTS)
                except LetGo:  # no attempt: it may never have been read, and its id tells a receiver who did read it
                    response = await afresh.post(target, data=body, headers=headers, allow_redirects=_REDIRECTS)
                status = response.status
                if not 200 <= status < 300:
                    error_class = "http"
                    retry_after = _bounded(response.headers.get("Retry-After"))
                if not response.content.at_eof():
                    head = await _head(response)
        except Exception as error:
            if status is None:
                error_class = classify(error)
        return Sent(status, error_class, int((loop.time() - began) * 1000), retry_after, head)

    def _judge(self, url: str) -> tuple[aiohttp.ClientSession, aiohttp.ClientSession, URL]:
        """The sessions, whose connections are kept and are not, and the parsed URL for a text; cached, while addresses are judged
        anew at every connection."""
        target = self._policy.judge_url(url)
        parsed = URL(target.url, encoded=True)
        if (parsed.raw_host, parsed.port, parsed.scheme) != (target.host, target.port, target.scheme):
            raise Blocked("two parsers disagree about this URL")
        if (target.inside_only, False) not in self._sessions:
            policy = self._policy.inside() if target.inside_only else self._policy
            for afresh in (False, True):
                self._sessions[target.inside_only, afresh] = self._open(policy, afresh=afresh)
        return self._sessions[target.inside_only, False], self._sessions[target.inside_only, True], parsed

    def _open(self, policy: Policy, *, afresh: bool = False) -> aiohttp.ClientSession:
        connector = Connector(
            dial=socket_for(policy),
            resolver=_JudgingResolver(policy, self._resolver),
            use_dns_cache=False,  # judged answers belong to the connection they were asked for
            ssl=self._ssl_context,
            limit=self._limit,
            **({"force_close": True} if afresh else {"keepalive_timeout": _KEEPALIVE_SECONDS}),
        )
        return aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=_TIMEOUT,
            trust_env=False,
        )


class _JudgingResolver(AbstractResolver):
    """Hands aiohttp vetted addresses. Literals do not come by here: `socket_for` judges those."""

    def __init__(self, policy: Policy, resolver: Resolver) -> None:
        self._policy = policy
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in await self._resolver.addresses(self._policy, host)
        ]

    async def close(self) -> None:
        """The resolver is shared; whoever made it closes it."""


def classify(error: BaseException) -> str:
    """The class of a failure that brought no status. One word, the same for every cause of its kind: details would turn the
    sender into a port scanner."""
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, AddressBlocked):
        return "blocked"
    match error:
        case ResolveFailed() | aiohttp.ClientConnectorDNSError():
            return "dns"
        case TimeoutError():
            return "timeout"
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return "tls"
        case aiohttp.ClientConnectorError():
            return "reset" if isinstance(error.os_error, ConnectionResetError) else "refused"
        case aiohttp.ClientConnectionError() | ConnectionError():
            return "reset"
        case Blocked() | aiohttp.InvalidURL() | ValueError():  # ValueError: a header or URL that cannot be sent
            return "blocked"
        case _:
            return "http"


async def _head(response: aiohttp.ClientResponse) -> str | None:
    """The start of the body as text; reads on, bounded, so that the connection can be used again."""
    kept = b""
    read = 0
    encoded = response.headers.get("Content-Encoding", "identity").lower() != "identity"
    try:
        while read < ALLOWANCE and (chunk := await response.content.readany()):
            read += len(chunk)
            if len(kept) < _KEEP:
                kept += chunk[: _KEEP - len(kept)]
    except (aiohttp.ClientError, OSError, asyncio.CancelledError) as error:
        response.close()
        if isinstance(error, asyncio.CancelledError):
            raise
    if response.content.at_eof():
        response.release()
    else:
        response.close()
    return None if encoded else readable(kept)


def readable(text: bytes) -> str:
    """At most 1 KiB of a stranger's bytes as text without control characters, for people to look at."""
    shown = text[:_KEEP].decode("utf-8", "replace").replace("\r\n", "\n")
    if shown.isprintable():
        return shown
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in shown)


def _bounded(value: str | None) -> str | None:
    return value if value is not None and len(value) <= _LONGEST_RETRY_AFTER and value.isprintable() else None
