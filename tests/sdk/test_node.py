"""The published SDK for Node against a live service: it sends JSON where the one for Python sends a form."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from service.sandbox.jobs import Knobs
from tests.e2e.stack import Stack, installation
from tests.sdk import packages
from tests.sdk.player import FILM, PATIENCE_SECONDS, files, picture

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
MODEL = "ulazai/kling-3.0"


async def play(folder: Path, *arguments: str) -> dict[str, Any]:
    place = await asyncio.to_thread(packages.node)
    (folder / "node_modules").symlink_to(place / "node_modules")
    (folder / "play.mjs").write_text(Path(__file__).with_name("play.mjs").read_text(encoding="utf-8"), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        str(shutil.which("node")),
        "play.mjs",
        *arguments,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    answer: dict[str, Any] = json.loads(out)
    return answer


async def delivered(stack: Stack) -> tuple[str, str]:
    """A secret, and an event that was signed with it."""
    async with stack.client() as client:
        body = {"url": f"{stack.receiver.url}/hook", "format": "openai"}
        endpoint = (await client.post("/v1/endpoints", json=body)).json()
        await client.post(f"/v1/endpoints/{endpoint['id']}/test")
    await stack.until(lambda: len(stack.subscriber.received) > 0, "a test event")
    one = stack.subscriber.received[0]
    return endpoint["secret"], json.dumps({"body": one.body, "headers": dict(one.headers)})


async def test_create_poll_download_list_and_unwrap(tmp_path: Path) -> None:
    async with files() as outputs:
        knobs = Knobs(job_seconds=0.5, output_base=outputs.url)
        async with installation(tmp_path, knobs=knobs) as stack:
            await stack.start()
            secret, event = await delivered(stack)
            (tmp_path / "node").mkdir()
            encoded = [base64.b64encode(one).decode() for one in (picture(), event.encode())]
            told = await play(tmp_path / "node", f"{stack.url}/openai/v1", stack.key, encoded[0], secret, encoded[1])
            plain, pictured = [await stack.task(told[name]["id"]) for name in ("plain", "pictured")]
    assert plain["metadata"] == {"order": "8841"} and plain["input"]["duration"] == 5
    assert pictured["input"]["image"].startswith("http") and pictured["input"]["sound"] is True
    assert told["ended"]["status"] == "completed" and told["film"].encode() == FILM
    assert outputs.keys == [None]
    assert sorted(told["listed"]) == sorted([plain["id"], pictured["id"]])
    assert (told["event"]["type"], told["event"]["object"]) == ("video.completed", "event")
    assert told["refused"]["status"] == 400 and told["refused"]["kind"] == "BadRequestError"
    assert "provider/model" in told["refused"]["message"]
