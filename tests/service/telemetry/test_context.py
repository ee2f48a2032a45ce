"""On whose behalf a line is written."""

from __future__ import annotations

import asyncio

from service.telemetry import context


def test_a_request_is_known_from_its_beginning_to_its_end() -> None:
    assert context.current() is None
    assert context.fields() == {}
    begun = context.begin("req_1")
    assert context.fields() == {"request_id": "req_1"}
    context.whose("key_1", "prj_1")
    assert context.fields() == {"request_id": "req_1", "key": "key_1", "project": "prj_1"}
    begun.end()
    assert context.current() is None


def test_without_a_request_nobody_s_key_is_noted() -> None:
    context.whose("key_1", "prj_1")
    assert context.fields() == {}
    assert context.traceparent() is None


async def test_what_a_request_starts_is_on_its_behalf_and_what_serves_all_is_not() -> None:
    async def asked() -> dict[str, object]:
        return context.fields()

    begun = context.begin("req_1")
    begun.asked.traceparent = "00-1"
    assert await asyncio.create_task(asked()) == {"request_id": "req_1"}
    assert context.traceparent() == "00-1"
    assert await context.for_all(asked()) == {}
    begun.end()


async def test_two_requests_side_by_side_do_not_mix() -> None:
    met = asyncio.Barrier(2)

    async def serve(name: str) -> dict[str, object]:
        begun = context.begin(name)
        await met.wait()
        found = context.fields()
        begun.end()
        return found

    first, second = await asyncio.gather(serve("a"), serve("b"))
    assert (first, second) == ({"request_id": "a"}, {"request_id": "b"})
