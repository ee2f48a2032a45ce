"""Bodies of a create: a form and JSON mean the same, and what is odd is refused before anything is stored."""

from __future__ import annotations

from typing import Any

import httpx

from tests.service.api.house import House
from tests.service.core.pictures import png

MODEL = "cloudsway/kling-3.0-turbo"
ODD: tuple[tuple[list[tuple[str, Any]], str, str], ...] = (
    ([("video", ("a.mp4", b"x"))], "/video", "only file"),
    ([("input_reference", ("a", png())), ("input_reference", ("b", png()))], "/input_reference", "given twice"),
    ([("input_reference", ("a", png())), ("input_reference", (None, "https://x"))], "/input_reference", "both as"),
    ([("prompt", (None, b"\xff"))], "/prompt", "not UTF-8"),
    ([("shots[", (None, "x"))], "/shots[", "cannot be read"),
)
NONE = (
    (b"[]", "application/json", 400, "invalid_request"),
    (b"{", "application/json", 400, "malformed_json"),
    (b"x", "text/plain", 415, "unsupported_media_type"),
    (b"x", "multipart/mixed; boundary=b", 415, "unsupported_media_type"),
    (b"x", "multipart/form-data; boundary=b", 400, "malformed_form"),
    (b"x" * 1_100_000, "application/json", 413, "too_large"),
)


async def test_a_form_and_json_make_the_same_task(client: httpx.AsyncClient, house: House) -> None:
    body = {"model": MODEL, "prompt": "A boat", "seconds": "5", "size": "1280x720"}
    form = {name: (None, value) for name, value in {**body, "metadata[a]": "1", "watermark": "true"}.items()}
    first = await client.post("videos", files=form)
    second = await client.post("videos", json={**body, "metadata": {"a": "1"}, "watermark": True})
    assert (first.status_code, second.status_code) == (200, 200), first.text + second.text
    tasks = [(await client.get(f"http://anything.test/v1/tasks/{one.json()['id']}")).json() for one in (first, second)]
    assert tasks[0]["input"] == tasks[1]["input"] and tasks[0]["metadata"] == tasks[1]["metadata"] == {"a": "1"}


async def test_odd_forms(client: httpx.AsyncClient, house: House) -> None:
    before = await house.sizes()
    for files, place, words in ODD:
        reply = await client.post("videos", files=[("model", (None, MODEL)), *files])
        assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request"), place
        assert [words in one["detail"] for one in reply.json()["errors"] if one["pointer"] == place] == [True], place
    assert await house.sizes() == before


async def test_bodies_that_are_none(client: httpx.AsyncClient) -> None:
    for content, type, status, code in NONE:
        reply = await client.post("videos", content=content, headers={"content-type": type})
        assert (reply.status_code, reply.json()["code"]) == (status, code)


async def test_a_form_that_may_hold_a_file_needs_one_of_the_few_places(client: httpx.AsyncClient, house: House) -> None:
    house.context.uploading.update(range(house.context.limits.uploads))
    small = {"model": (None, MODEL), "prompt": (None, "A boat")}
    large: dict[str, Any] = {**small, "input_reference": ("a.png", png() + b"\0" * 1_100_000)}
    assert (await client.post("videos", files=small)).status_code == 200
    refused = await client.post("videos", files=large)
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
