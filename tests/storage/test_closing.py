from __future__ import annotations

import asyncio

import pytest

from storage.closing import to_its_end


async def test_who_is_cancelled_again_and_again_waits_to_the_end_and_is_cancelled_then() -> None:
    go_on, ended = asyncio.Event(), False

    async def close() -> None:
        nonlocal ended
        await go_on.wait()
        ended = True

    waiting = asyncio.create_task(to_its_end(asyncio.create_task(close())))
    for _ in range(3):
        await asyncio.sleep(0)
        waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended


async def test_a_limit_is_heard_of_once_it_has_ended() -> None:
    async def close() -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    closing = asyncio.create_task(close())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await to_its_end(closing)
    assert closing.done() and not closing.cancelled()


async def test_what_went_wrong_is_told_to_everybody_who_waits() -> None:
    async def close() -> None:
        raise OSError("gone")

    closing = asyncio.create_task(close())
    for _ in range(2):
        with pytest.raises(OSError, match="gone"):
            await to_its_end(closing)
