"""A tapped client sends the same and lets it be heard."""

from __future__ import annotations

from service.net.client import Channel
from service.net.resolver import Resolver
from service.net.tap import TappedClient, overheard
from service.providers.base import Ask, Flow, Reply
from tests.service.net.conftest import LOOPBACK_ALLOWED
from tests.service.net.servers import answer_always, serving


def twice() -> Flow[int]:
    first = yield Ask(method="GET", path="/one")
    second = yield Ask(method="GET", path="/two")
    return first.status + second.status


async def test_every_exchange_is_heard_in_order_and_the_flow_ends_as_without(resolver: Resolver) -> None:
    heard: list[tuple[str, int]] = []
    client = TappedClient(
        LOOPBACK_ALLOWED,
        resolver,
        user_agent="taskrelay/test",
        heard=lambda ask, reply: heard.append((ask.path, reply.status)),
    )
    async with serving(answer_always) as seen:
        channel = Channel(name="acme", base_url=f"http://api.provider.test:{seen.port}", api_key="k")
        assert await client.drive(twice(), channel, timeout_seconds=5) == 400
    await client.aclose()
    assert heard == [("/one", 200), ("/two", 200)]


def test_what_closes_a_tapped_flow_closes_the_flow() -> None:
    inner = twice()
    flow = overheard(inner, lambda ask, reply: None)
    next(flow)
    flow.send(Reply(status=200))
    flow.close()
    assert inner.gi_frame is None  # type: ignore[attr-defined]
