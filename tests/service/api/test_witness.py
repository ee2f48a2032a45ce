from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

from tests.service.api import witness

ALIVE = {"status": "ok"}
ALWAYS = {"x-request-id": "req_x"}


async def held(path: str, answer: httpx.Response, method: str = "GET", **request: Any) -> None:
    answer.request = httpx.Request(method, f"http://anything.test{path}", **request)
    await witness.check(answer)


async def test_what_is_described_passes() -> None:
    await held("/livez", httpx.Response(200, json=ALIVE, headers=ALWAYS))
    await held("/livez", httpx.Response(200, headers=ALWAYS), "HEAD")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(201, json=ALIVE), "undescribed status"),
        (httpx.Response(200, json={**ALIVE, "more": 1}), "Additional properties"),
        (httpx.Response(200, json={}), "required property"),
        (httpx.Response(200, text="ok"), "undescribed media type"),
        (httpx.Response(200, json=ALIVE, headers={"x-new": "1"}), "undescribed header x-new"),
    ],
    ids=["status", "member", "missing", "media type", "header"],
)
async def test_what_is_not_is_found(answer: httpx.Response, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        await held("/livez", answer)


async def test_a_header_that_is_always_there_is_missed() -> None:
    with pytest.raises(AssertionError, match="no header ETag"):
        await held("/openapi.json", httpx.Response(304))


async def test_a_problem_of_a_code_that_is_not_described_is_found() -> None:
    problem = {"type": "x", "title": "x", "status": 404, "detail": "x", "code": "events_gone"}
    answer = httpx.Response(404, content=orjson.dumps(problem), headers={"content-type": "application/problem+json"})
    with pytest.raises(AssertionError, match="events_gone"):
        await held(f"/v1/tasks/task_{'0' * 26}", answer)


@pytest.mark.parametrize(
    "sent", [{"json": {"action": "sell"}}, {"params": {"colour": "red"}}], ids=["body", "parameter"]
)
async def test_what_was_taken_and_is_described_as_refused_is_found(sent: dict[str, Any]) -> None:
    answer = httpx.Response(201, json={})
    with pytest.raises(AssertionError, match=r"taken|undescribed parameter"):
        await held("/v1/endpoints", answer, "POST", **sent)


async def test_of_a_path_that_is_not_described_nothing_is_said() -> None:
    await held("/v1/nowhere", httpx.Response(404, text="x"))
