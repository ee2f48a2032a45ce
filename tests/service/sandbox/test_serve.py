from __future__ import annotations

import asyncio
import os
import signal
import socket

import httpx
import pytest

from service.sandbox.jobs import Knobs
from service.sandbox.serve import Served, serve
from service.sandbox.subscriber import Subscriber
from service.sandbox.world import World
from tests.service.sandbox.conftest import KEY, HandClock
from tests.service.sandbox.test_cloudsway import TEXT, body


async def get(served: Served, path: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(served.url + path)


async def test_port_nought_takes_a_free_one_and_tells_it(world: World) -> None:
    async with await serve(world) as served, await serve(World()) as other:
        assert served.port != other.port != 0
        assert (await get(served, "/_sandbox/ledger")).status_code == 200
        assert (await get(other, "/_sandbox/ledger")).status_code == 200


async def test_an_answer_is_not_held_back_until_what_went_before_it_was_acknowledged(world: World) -> None:
    async with await serve(world) as served, httpx.AsyncClient(trust_env=False) as client:
        await client.get(served.url + "/_sandbox/ledger")
        [connection] = served.server.server_state.connections
        asked = connection.transport.get_extra_info("socket")
        assert asked.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


async def test_taken_port_is_an_error_of_the_caller(world: World) -> None:
    async with await serve(world) as served:
        with pytest.raises(OSError):
            await serve(World(), port=served.port)


async def test_stop_frees_the_port_even_while_a_request_hangs(world: World) -> None:
    served = await serve(world)
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {KEY}"}, trust_env=False) as client:
        hanging = asyncio.create_task(client.post(served.url + TEXT, json=body("A boat [sandbox: hang]")))
        async with asyncio.timeout(30):
            await world.until(lambda: bool(world.requests) and bool(world.requests[0].told))
            await served.stop()
        with pytest.raises(httpx.RemoteProtocolError):
            await hanging
    async with await serve(World(), port=served.port):
        pass


async def test_stop_ends_the_jobs_and_pushes_of_the_world(clock: HandClock) -> None:
    world = World(Knobs(job_seconds=60), clock=clock, sleep=clock.sleep)
    async with await serve(world) as served, httpx.AsyncClient(trust_env=False) as client:
        url = served.url + TEXT
        reply = await client.post(
            url, json=body("A boat", "http://127.0.0.1:9/"), headers={"authorization": "Bearer k"}
        )
        assert reply.status_code == 200
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    assert not [name for name in names if name.startswith("World.")]


async def test_stop_does_not_wait_for_a_push_that_hangs(world: World, receiver: Subscriber, callback_url: str) -> None:
    receiver.answers.status, receiver.answers.times = None, 1
    order = body("A boat [sandbox: push-before-reply]", callback_url)
    world.knobs.push_timeout_seconds = 3600
    async with asyncio.timeout(30), httpx.AsyncClient(headers={"authorization": "Bearer k"}, trust_env=False) as client:
        served = await serve(world)
        creating = asyncio.create_task(client.post(served.url + TEXT, json=order))
        await receiver.until(1)
        await served.stop()
        with pytest.raises(httpx.RemoteProtocolError):
            await creating


async def test_stopping_twice_is_stopping_once(world: World) -> None:
    served = await serve(world)
    await served.stop()
    await served.stop()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_until_signal_serves_and_then_stops(world: World, number: signal.Signals) -> None:
    served = await serve(world)
    serving = asyncio.create_task(served.until_signal())
    assert (await get(served, "/_sandbox/ledger")).status_code == 200
    os.kill(os.getpid(), number)
    async with asyncio.timeout(30):
        await serving
    with pytest.raises(httpx.ConnectError):
        await get(served, "/_sandbox/ledger")
