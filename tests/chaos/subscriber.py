"""The subscriber of a run: keeps every body and header, fails now and then, and is as slow as an attempt allows when told to."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from tests.kill.receiver import Receiver

ATTEMPT_SECONDS = 4.0  # an attempt's time limit in these runs …
SLOW_SECONDS = 2.5  # … and how long an answer takes that shall outlive its sender's lease


class SlowReceiver(Receiver):
    """`slow`: attempts that begin now are answered late, so that they are in flight when their sender is paused."""

    slow = False
    waiting = 0  # attempts that have not been answered yet

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.waiting += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.waiting -= 1

    def _manners(self, event_id: str) -> tuple[float, int]:
        seconds, status = super()._manners(event_id)
        return (SLOW_SECONDS, 204) if self.slow else (seconds, status)
