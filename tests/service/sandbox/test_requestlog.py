from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.sandbox.requestlog import RequestLog, masked
from service.sandbox.serve import serve
from service.sandbox.world import World
from tests.service.sandbox.conftest import KEY
from tests.service.sandbox.test_acedata_body import ASYNC
from tests.service.sandbox.test_ulazai_body import TEXT

TOKEN = "hush-hush-token"


@pytest.fixture
async def logged(world: World, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    with RequestLog(tmp_path / "log") as log:
        async with await serve(world, log=log) as served:
            headers = {"authorization": f"Bearer {KEY}"}
            async with httpx.AsyncClient(base_url=served.url, headers=headers, timeout=60, trust_env=False) as client:
                yield client


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log").read_text().splitlines()]


async def test_every_request_is_a_line_with_its_body_also_one_that_was_refused_or_lost(
    logged: httpx.AsyncClient, world: World, tmp_path: Path
) -> None:
    await logged.post("/kling/videos", json=ASYNC)
    await logged.post("/kling30/api/genereren/", json=TEXT)
    with pytest.raises(httpx.RemoteProtocolError):
        await logged.post("/kling30/api/generate/", json=TEXT | {"prompt": "A cat [sandbox: lost-reply]"})
    world.knobs.api_key = "another"
    await logged.post("/kling30/api/generate/", json=TEXT)
    await logged.get("/_sandbox/ledger")
    async with asyncio.timeout(30):
        await world.until(lambda: len(lines(tmp_path)) == 4)
    seen = {line["status"]: line for line in lines(tmp_path)}
    bodies = {status: json.loads(line["body"]) for status, line in seen.items()}
    assert (bodies.pop(200), bodies.pop(404), bodies.pop(401)) == (ASYNC, TEXT, TEXT)
    assert bodies[None]["prompt"] == "A cat [sandbox: lost-reply]" and seen[None]["job_id"] in world.jobs


async def test_log_holds_neither_key_nor_callback_token(logged: httpx.AsyncClient, tmp_path: Path) -> None:
    url = f"https://us.example.org/callbacks/acedata/{TOKEN}?k={TOKEN}"
    await logged.post("/kling/videos", json=ASYNC | {"callback_url": url, "prompt": f"Say {KEY}"})
    await logged.post("/kling/videos", content=f'{{"callback_url": "{url}", "broken'.encode())
    await logged.post(f"/kling/videos?key={KEY}", json=ASYNC)
    text = (tmp_path / "log").read_text()
    assert TOKEN not in text and KEY not in text
    assert text.count("https://us.example.org/***") == 2


async def test_uploaded_file_is_told_by_its_length_alone(logged: httpx.AsyncClient, tmp_path: Path) -> None:
    await logged.post("/files/upload", files={"file": ("a.png", bytes(2 << 20), "image/png")})
    [line] = lines(tmp_path)
    assert line["body"] == "<multipart/form-data>" and line["body_bytes"] > 2 << 20


async def test_log_is_added_to(tmp_path: Path, world: World) -> None:
    for _ in range(2):
        with RequestLog(tmp_path / "log") as log:
            async with await serve(world, log=log) as served, httpx.AsyncClient(trust_env=False) as client:
                await client.get(f"{served.url}/nowhere")
    assert [line["path"] for line in lines(tmp_path)] == ["/nowhere", "/nowhere"]


@pytest.mark.parametrize(
    "text",
    [
        '{"callback_url":"http://a.example.org:8443/hush/hush"}',
        '{"callback_url" : "https:\\/\\/a.example.org\\/hush"}',
        '{"callback_url":"https://a.example.org?hush"}',
        '{"callBackUrl":"https://a.example.org#hush',
        '{"callback_url":"https://hush@a.example.org/"}',
        '{"callback_url":"https://a.example.org/x\\"hush"}',
        '{"api_key":"hush"}',
        '{"a":{"Token":"hush"}}',
    ],
)
def test_secret_is_masked_however_it_is_written(text: str) -> None:
    assert "hush" not in masked(text, "")
