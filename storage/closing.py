"""The end of a database, which nobody may leave half done."""

from __future__ import annotations

import asyncio


async def to_its_end(closing: asyncio.Task[None]) -> None:
    """Wait for it; who is cancelled meanwhile is so afterwards.

    A command that is interrupted has a loop that ends with it, and cancels what it finds. A connection's thread that is left then
    holds the process up for ever (seen: `bench`, interrupted while it closed its database).
    """
    cancelled = False
    while not closing.done():
        try:
            await asyncio.wait([closing])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
    closing.result()
