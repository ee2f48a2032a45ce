"""Delivers pushes in the background: signed when there is a secret, each within its time limit, nothing left behind at close."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable

import aiohttp

from service.sandbox.jobs import Attempt, Knobs, Push

MOST_AT_ONCE = 100
KEPT_ALIVE_SECONDS = 2.0  # under the 5 s after which uvicorn closes an idle connection, or that race would lose pushes

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]


class Postman:
    """Owns the connections pushes go out on."""

    def __init__(self, clock: Clock, sleep: Sleep) -> None:
        self.clock = clock
        self.sleep = sleep
        self._places = asyncio.Semaphore(MOST_AT_ONCE)
        self._session: aiohttp.ClientSession | None = None

    async def deliver(self, push: Push, url: str, knobs: Knobs, secret: str | None = None) -> None:
        """Post the push, signed if there is a secret, until it is answered 2xx or its tries are used up."""
        for attempt in range(1 + knobs.push_retries):
            if attempt:
                await self.sleep(knobs.push_retry_seconds)
            async with self._places:
                push.attempts.append(await self._post(push, url, knobs, secret))
            status = push.attempts[-1].status
            if status is not None and 200 <= status < 300:
                return

    async def _post(self, push: Push, url: str, knobs: Knobs, secret: str | None) -> Attempt:
        began = self.clock()
        headers = {"content-type": "application/json", "user-agent": "taskrelay-sandbox"}
        if secret is not None:
            headers |= signed_headers(push, secret, int(began))
        limit = aiohttp.ClientTimeout(total=knobs.push_timeout_seconds)
        try:
            # Whether real pushes follow redirects is not documented; the strict reading is that they do not.
            async with self._open().post(
                url, data=push.body, headers=headers, timeout=limit, allow_redirects=False
            ) as reply:
                await reply.content.read(1_024)
                return Attempt(at=began, ended_at=self.clock(), status=reply.status)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            return Attempt(at=began, ended_at=self.clock(), error=type(error).__name__)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            # No limit in the pool: waiting for a place there would count against the push's own time limit.
            pool = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_ALIVE_SECONDS)
            self._session = aiohttp.ClientSession(connector=pool, cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()
            # aiohttp's connections report their end one turn of the loop later.
            await asyncio.sleep(0)


def signed_headers(push: Push, secret: str, timestamp: int) -> dict[str, str]:
    """Standard Webhooks headers, as Kling's callbacks page gives them: HMAC-SHA256 over `id.timestamp.body`."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{push.webhook_id}.{timestamp}.".encode() + push.body
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": push.webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }
