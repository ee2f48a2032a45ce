"""A provider written from Cloudsway's own page alone: its sample replies, word for word, and nothing that page does not say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from service.net.server import listen
from tests.e2e.stack import SHORT_PURCHASES, installation

pytestmark = pytest.mark.slow

LINK = "https://v16-kling-fdl.klingai.com/bs2/muse/o.mp4?ksSecret=8004a4f0fb0d97309d0549abd6d5f54e&ksTime=6a6ef86e"


class Stranger:
    """Answers as the page's samples do. `lose`: how many submit replies never arrive although the job is made."""

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []
        self.asked: list[dict[str, str]] = []
        self.lose = 0

    async def submit(self, request: Request) -> JSONResponse:
        assert request.headers["authorization"] == "Bearer stranger-key"
        body = orjson.loads(await request.body())
        self.made.append(body)
        if self.lose:
            self.lose -= 1
            await asyncio.sleep(60)
        return JSONResponse(
            {
                "code": 0,
                "message": "SUCCEED",
                "data": {
                    "id": f"90193000460963439{len(self.made)}",
                    "status": "submitted",
                    "message": "",
                    "create_time": 4102444800000,
                    "update_time": 4102444800000,
                },
                "request_id": "ed6ce13d-7c9b-48cc-ba5c-e4ba5c260a60",
            }
        )

    async def tasks(self, request: Request) -> JSONResponse:
        assert request.headers["authorization"] == "Bearer stranger-key"
        self.asked.append(dict(request.query_params))
        [(name, value)] = request.query_params.items()  # exactly one of the two
        ours = name == "external_task_ids"
        known = {
            body["options"]["external_task_id"] if ours else f"90193000460963439{number}": number
            for number, body in enumerate(self.made, 1)
        }
        return JSONResponse(
            {
                "code": 0,
                "message": "SUCCEED",
                "data": [self.item(known[one]) for one in value.split(",") if one in known],
                "request_id": "e508ec0e-feb7-4d18-815d-47b52a57cad7",
            }
        )

    def item(self, number: int) -> dict[str, object]:
        return {
            "id": f"90193000460963439{number}",
            "status": "succeeded",
            "message": "",
            "outputs": [{"type": "video", "id": "901930006506119262", "url": LINK, "duration": "5.041"}],
            "billing": [{"amount": "5", "charge_type": "unit", "package_type": "video"}],
            "create_time": 4102444800000,
            "update_time": 4102444866406,
        }


@asynccontextmanager
async def serving(stranger: Stranger) -> AsyncIterator[str]:
    base = "/v1/ai/AbC123/kling"
    app = Starlette(
        routes=[
            Route(f"{base}/videos/text-to-video/kling-3.0-turbo", stranger.submit, methods=["POST"]),
            Route(f"{base}/tasks", stranger.tasks, methods=["GET"]),
        ]
    )
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=0))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running


@pytest.mark.parametrize("lost", [0, 1], ids=["answered", "reply lost"])
async def test_a_strangers_server_that_follows_the_page_works(tmp_path: Path, lost: int) -> None:
    stranger = Stranger()
    stranger.lose = lost
    async with serving(stranger) as url, installation(tmp_path) as stack:
        stack.extra = {
            "TASKRELAY_ACCOUNTS__CLOUDSWAY__BASE_URL": url,
            "TASKRELAY_ACCOUNTS__CLOUDSWAY__API_KEY": "stranger-key",
            "TASKRELAY_ACCOUNTS__CLOUDSWAY__ENDPOINT_PATH": "AbC123",
            "TASKRELAY_PUBLIC_URL": "",
            **(SHORT_PURCHASES if lost else {}),
        }
        await stack.start()
        await stack.subscribe()
        created = (await stack.create()).json()
        await stack.until(lambda: bool(stack.subscriber.received), "the event")
        task = await stack.task(created["id"])
    assert (task["status"], task["provider_task_id"]) == ("succeeded", "901930004609634391")
    assert task["outputs"][0]["url"] == LINK
    assert (task["charge"], task["cost"]["charged"]) == ("confirmed", "5")
    assert [one.valid for one in stack.subscriber.received] == [True]
    assert len(stranger.made) == 1
    assert "callback_url" not in stranger.made[0]["options"]
