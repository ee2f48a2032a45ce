"""taskiq on a Redis stream, the broker its documentation recommends for acknowledged delivery; aiohttp on uvloop."""

from __future__ import annotations

import asyncio

import aiohttp
from taskiq import SimpleRetryMiddleware, TaskiqEvents, TaskiqState  # type: ignore[import-not-found]
from taskiq_redis import RedisStreamBroker  # type: ignore[import-not-found]

from tests.bench.peers.posting import REDIS, RETRIES, URL, headers, owed

broker = RedisStreamBroker(url=REDIS).with_middlewares(SimpleRetryMiddleware(default_retry_count=RETRIES))


@broker.on_event(TaskiqEvents.WORKER_STARTUP)  # type: ignore[untyped-decorator]
async def open_session(state: TaskiqState) -> None:
    state.session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=15),
    )


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)  # type: ignore[untyped-decorator]
async def close_session(state: TaskiqState) -> None:
    await state.session.close()


@broker.task(task_name="deliver", retry_on_error=True)  # type: ignore[untyped-decorator]
async def deliver(event_id: str, text: str) -> None:
    body = text.encode()
    async with broker.state.session.post(URL, data=body, headers=headers(event_id, body)) as response:
        response.raise_for_status()
        await response.read()


async def fill() -> None:
    await broker.startup()
    for event_id, body in owed():
        await deliver.kiq(event_id, body)
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(fill())
