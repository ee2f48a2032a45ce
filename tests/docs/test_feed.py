"""The loop that docs/feed.md has readers copy takes every event once, in order, and goes on where it stopped."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.docs import pages
from tests.e2e.stack import installation


class Enough(Exception):
    """Ends a loop that is meant to go on for ever."""


def follow(url: str, key: str, place: str | None, until: str) -> tuple[list[dict[str, Any]], str | None]:
    """Run the page's loop until an event of the type came and its page was dealt with."""
    [loop] = pages.blocks("docs/feed.md", "python")
    assert "http://127.0.0.1:8080" in loop
    taken: list[dict[str, Any]] = []
    kept: list[str | None] = [place]

    def save(following: str) -> None:
        kept.append(following)
        if any(event["type"] == until for event in taken):
            raise Enough

    given: dict[str, Any] = {"key": key, "place": place, "handle": taken.append, "save": save}
    with pytest.raises(Enough):
        exec(compile(loop.replace("http://127.0.0.1:8080", url), "feed.md", "exec"), given)
    given["client"].close()
    return taken, kept[-1]


@pytest.mark.slow
async def test_the_loop_of_the_page_misses_nothing_and_goes_on(tmp_path: Path) -> None:
    async with installation(tmp_path) as stack:
        await stack.start()
        async with stack.client() as client:
            place = None
            for name in ("first", "second"):
                order = {"provider": "cloudsway", "model": "kling-3.0-turbo", "input": {"prompt": name}}
                task = (await client.post("/v1/tasks", json=order)).raise_for_status().json()["id"]
                events, place = await asyncio.to_thread(follow, stack.url, stack.key, place, "task.succeeded")
                assert {event["data"]["id"] for event in events} == {task}  # the second run begins behind the first
                assert events[-1]["type"] == "task.succeeded"
