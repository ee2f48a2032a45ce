"""Everything that was said while a probe ran: our requests with their replies, and the pushes, in the order they came."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from service.providers.base import Ask, Reply

MOST_BYTES = 1 << 20

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request and its whole reply. `at`: microseconds, when the reply was there."""

    ask: Ask
    reply: Reply
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """A request to the callback door, whatever became of it."""

    headers: Mapping[str, str] = field(repr=False)
    body: bytes
    at: int


@dataclass(slots=True)
class Heard:
    """Filled while the probe runs."""

    clock: Callable[[], int]
    exchanges: list[Exchange] = field(default_factory=list)
    pushes: list[Pushed] = field(default_factory=list)

    def exchange(self, ask: Ask, reply: Reply) -> None:
        self.exchanges.append(Exchange(ask=ask, reply=reply, at=self.clock()))

    def at_the_door(self, app: App) -> App:
        """The same application; what is pushed to it is kept as it came."""

        async def heard(scope: Any, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or not scope["path"].startswith("/callbacks/"):
                await app(scope, receive, send)
                return
            body, at = bytearray(), self.clock()

            async def listening() -> dict[str, Any]:
                message = await receive()
                body.extend(message.get("body", b"")[: MOST_BYTES - len(body)])
                return message

            try:
                await app(scope, listening, send)
            finally:
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
                self.pushes.append(Pushed(headers=headers, body=bytes(body), at=at))

        return heard
