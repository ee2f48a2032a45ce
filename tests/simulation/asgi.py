"""Speaks to an ASGI application in this process: one request, its whole answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

HANG_UP = "sandbox.hang_up"
PATIENCE_SECONDS = 300.0  # after which whoever asked is long gone


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def call(
    app: Any, method: str, path: str, *, query: str = "", headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Answer | None:
    """The answer; None when the application closed the connection without one."""
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    status, told, parts = 0, dict[str, str](), list[bytes]()
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": body, "more_body": False}
        if not gone.done():
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await asyncio.shield(gone)
            except TimeoutError:
                pass
        return {"type": "http.disconnect"}

    async def send(message: Mapping[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            told.update((name.decode().lower(), value.decode()) for name, value in message["headers"])
        else:
            parts.append(message.get("body", b""))

    def hang_up() -> None:
        if not gone.done():
            gone.set_result(None)

    sent = {"host": "sim.example", "content-length": str(len(body)), **(headers or {})}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
        "client": ("203.0.114.7", 1),
        "server": ("sim.example", 443),
        "extensions": {HANG_UP: hang_up},
        "state": {},
    }
    await app(scope, receive, send)
    return Answer(status, told, b"".join(parts)) if status else None
