"""How long a push takes to its subscriber when nothing else goes on."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import orjson

from service.settings import load
from tests.bench import load as generator
from tests.bench import seed
from tests.bench.row import Row, percentile
from tests.bench.sink import Sink
from tests.bench.stage import child, environment


async def row(folder: Path, callbacks: str, samples: int) -> Row:
    taken = await latency(folder, callbacks, samples)
    p50, p99 = percentile(taken, 0.5), percentile(taken, 0.99)
    name = "idle" if callbacks == "verify" else f"idle_{callbacks}"
    return Row(
        title=f"idle, callback to subscriber ({callbacks})",
        measured=f"p50 {p50:.1f} ms, p99 {p99:.1f} ms",
        goal="≤ 10, ≤ 50 ms",
        figures={f"{name}_p50_ms": round(p50, 2), f"{name}_p99_ms": round(p99, 2)},
    )


async def latency(folder: Path, callbacks: str, samples: int) -> list[float]:
    """Milliseconds from the callback's first byte to the subscriber having the event, on an idle service."""
    os.mkdir(folder)
    answers: dict[str, bytes] = {}

    def answer(head: bytes, body: bytes) -> bytes:
        asked = head.split(b"task_ids=", 1)[1].split(b" ", 1)[0].decode().replace("%2C", ",").split(",")
        found = b",".join(answers[one] for one in asked)
        reply = b'{"code":0,"message":"SUCCEED","data":[' + found + b'],"request_id":"r"}'
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(reply)}\r\n\r\n".encode()
        return head + reply

    provider, subscriber = Sink(answer), Sink()
    subscriber.keep = True
    provider_server, provider_port = await provider.listen()
    server, port = await subscriber.listen()
    env = environment(folder, callbacks=callbacks, provider=f"http://127.0.0.1:{provider_port}")
    settings = load(env)
    to = await seed.tenant(settings, f"http://127.0.0.1:{port}/hook", in_flight=8)
    pushes = await seed.processing(settings, to.project_id, samples, first=0, account="cloudsway")
    for push in pushes:
        answers[orjson.loads(push.body)["id"]] = push.body
    taken: list[float] = []
    async with child("serve", env=env) as served:
        listening = int((await served.hear())["port"])
        for push in pushes:
            subscriber.stirred.clear()
            began = time.perf_counter()
            await generator.run(listening, [generator.post(push.path, push.body)], 1)
            async with asyncio.timeout(10):
                await subscriber.stirred.wait()
            taken.append((max(subscriber.arrived.values()) - began) * 1000)
            await asyncio.sleep(0.01)  # idle again, so that each sample stands alone
    for listener in (server, provider_server):
        listener.close()
    return taken[samples // 10 :]  # the first ones warm up
