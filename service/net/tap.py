"""A client that lets every exchange with a provider be looked at: for a probe, which reports what was said word by word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from service.net.client import Channel, ProviderClient
from service.providers.base import Ask, Flow, Reply

T = TypeVar("T")
Heard = Callable[[Ask, Reply], None]


class TappedClient(ProviderClient):
    """Sends exactly what `ProviderClient` sends. `heard` is called after every reply that came whole."""

    def __init__(self, *args: Any, heard: Heard, **more: Any) -> None:
        super().__init__(*args, **more)
        self._heard = heard

    async def drive(
        self, flow: Flow[T], channel: Channel, *, timeout_seconds: float, deadline: float | None = None
    ) -> T:
        tapped = overheard(flow, self._heard)
        return await super().drive(tapped, channel, timeout_seconds=timeout_seconds, deadline=deadline)


def overheard(flow: Flow[T], heard: Heard) -> Flow[T]:
    """The same flow, whose replies can be looked at."""
    try:
        ask = next(flow)
        while True:
            reply = yield ask
            heard(ask, reply)
            ask = flow.send(reply)
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        flow.close()
