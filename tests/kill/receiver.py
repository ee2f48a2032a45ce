"""A subscriber with manners drawn by lot: the first time it is told of an event it may be slow, or fail, or both.

It never fails twice: the third attempt comes minutes after the second, and a run shall not take that long.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import uvicorn
from starlette.types import Receive, Scope, Send

from service.sandbox.serve import Served
from service.sandbox.subscriber import Subscriber

FAILS, SLOW, SLOW_AND_FAILS = 0.06, 0.12, 0.03
LONGEST_SECONDS = 0.4


@dataclass(slots=True, kw_only=True)
class Receipt:
    """One POST. `reason`: why its signature is not valid. `answered_at` None: the sender was gone before."""

    event_id: str
    body: bytes
    sha256: str
    reason: str | None
    status: int
    at: float
    answered_at: float | None = None

    @property
    def heard(self) -> bool:
        """Answered with a success while the sender was there; it may have died before it read that."""
        return self.answered_at is not None and 200 <= self.status < 300


class Receiver:
    """ASGI application: any POST is an event."""

    def __init__(self, seed: str) -> None:
        self.subscriber = Subscriber()  # checks signatures with the published library
        self.receipts: list[Receipt] = []
        self.calm = False  # no more misbehaviour
        self._seed = seed
        self._known: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = bytearray()
        while True:
            message = await receive()
            body += message.get("body", b"")
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                break
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        seconds, status = self._manners(headers.get("webhook-id", ""))
        receipt = Receipt(
            event_id=headers.get("webhook-id", ""),
            body=bytes(body),
            sha256=hashlib.sha256(body).hexdigest(),
            reason=self.subscriber.judge(headers, bytes(body)),
            status=status,
            at=time.time(),
        )
        self.receipts.append(receipt)
        await asyncio.sleep(seconds)
        if self._gone(scope):
            return
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})
        receipt.answered_at = time.time()

    def _manners(self, event_id: str) -> tuple[float, int]:
        first = event_id not in self._known
        self._known.add(event_id)
        rng = random.Random(f"{self._seed}/{event_id}")
        lot, seconds = rng.random(), rng.uniform(0.05, LONGEST_SECONDS)
        if self.calm or not first or lot > FAILS + SLOW + SLOW_AND_FAILS:
            return 0.0, 204
        fails = lot < FAILS or lot > FAILS + SLOW
        return 0.0 if lot < FAILS else seconds, 500 if fails else 204

    def _gone(self, scope: Scope) -> bool:
        connections = self.server.server_state.connections
        return not any(getattr(connection, "client", None) == scope["client"] for connection in connections)

    server: uvicorn.Server


@asynccontextmanager
async def receiving(receiver: Receiver) -> AsyncIterator[str]:
    """Listen on a free port; gives the URL."""
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.setblocking(False)
    config = uvicorn.Config(receiver, log_config=None, access_log=False, proxy_headers=False, ws="none", lifespan="off")
    server = receiver.server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    async with Served(host="127.0.0.1", port=listener.getsockname()[1], server=server) as served:
        yield served.url
