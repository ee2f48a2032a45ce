"""What the bench measures, each as a process of its own on the first core. Speaks JSON lines on stdout."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

import aiohttp
import orjson
import uvloop

from service.bootstrap.door import server_of
from service.bootstrap.opening import open_service
from service.bootstrap.parts import Service
from service.core import signature
from service.net.server import Server, uvicorn_config
from service.net.server import listen as bind
from service.runtime import ease_collector, run
from service.settings import environment, load
from storage.database import Connection


def say(**facts: object) -> None:
    sys.stdout.write(orjson.dumps(facts).decode() + "\n")
    sys.stdout.flush()


def rss_mb() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def bare_app(scope: Any, receive: Any, send: Any) -> None:
    """The ceiling: read the body, answer 200."""
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})


async def listen(server: Server) -> None:
    """Serve on a free port until a line comes in."""
    listener = bind("127.0.0.1", 0)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await server.ready.wait()
    say(port=listener.getsockname()[1])
    cpu = time.process_time()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    say(rss_mb=rss_mb(), cpu_seconds=time.process_time() - cpu)
    server.should_exit = True
    await serving


async def bare() -> None:
    await listen(Server(uvicorn_config(bare_app, "127.0.0.1", 0)))


async def serve(*, work: bool) -> None:
    async with open_service(load(environment())) as service:
        stopping = asyncio.Event()
        background = None
        if work:
            background = asyncio.create_task(run(service.loops, service.endless, stopping))
        ease_collector()
        await listen(server_of(service))
        stopping.set()
        if background is not None:
            await background


async def pending(service: Service) -> int:
    async def unit(tx: Connection) -> int:
        [(count,)] = await tx.fetch("SELECT count(*) FROM deliveries WHERE status = 'pending'")
        return int(count)  # type: ignore[call-overload, no-any-return]

    return await service.database.read(unit)


async def any_pending(service: Service) -> bool:
    return bool(
        await service.database.read(lambda tx: tx.fetch("SELECT 1 FROM deliveries WHERE status = 'pending' LIMIT 1"))
    )


async def relay(limit_seconds: float) -> None:
    """Send everything that is owed, or as much as the time allows."""
    async with open_service(load(environment())) as service:
        stopping = asyncio.Event()
        owed = await pending(service)
        ease_collector()
        say(ready=owed)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        began, cpu = time.perf_counter(), time.process_time()
        background = asyncio.create_task(run([], [service.lanes.run], stopping))
        highest = 0.0
        while await any_pending(service) and time.perf_counter() - began < limit_seconds:
            highest = max(highest, rss_mb())
            await asyncio.sleep(0.02)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        sent = owed - await pending(service)
        say(seconds=seconds, sent=sent, cpu_us=cpu / max(sent, 1) * 1e6, rss_mb=max(highest, rss_mb()))
        stopping.set()
        await background


async def bare_loop(url: str, count: int, body: bytes) -> None:
    """The ceiling: the same client posting the same bytes, signed, 64 at a time, with nothing recorded."""
    key = b"k" * 32
    left = iter(range(count))
    connector = aiohttp.TCPConnector(limit=0)
    say(ready=count)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def sender() -> None:
            for number in left:
                stamp = int(time.time())
                event_id = f"evt_{number:026d}"
                headers = {
                    "content-type": "application/json",
                    "webhook-id": event_id,
                    "webhook-timestamp": str(stamp),
                    "webhook-signature": signature.sign([key], event_id, stamp, body),
                }
                async with session.post(url, data=body, headers=headers) as response:
                    await response.read()

        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(sender() for _ in range(64)))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        say(seconds=seconds, sent=count, cpu_us=cpu / count * 1e6, rss_mb=rss_mb())


def main() -> None:
    os.sched_setaffinity(0, {int(core) for core in os.environ["BENCH_CORES"].split()})
    match sys.argv[1:]:
        case ["bare"]:
            uvloop.run(bare())
        case ["serve"]:
            uvloop.run(serve(work=True))
        case ["api"]:
            uvloop.run(serve(work=False))
        case ["relay", limit]:
            uvloop.run(relay(float(limit)))
        case ["loop", url, count, length]:
            uvloop.run(bare_loop(url, int(count), b"x" * int(length)))
        case other:
            raise SystemExit(f"unknown: {other}")


main()
