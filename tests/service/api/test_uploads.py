"""POST /v1/uploads against the sandbox: an image gets a URL, and what is no image goes nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import httpx
import pytest

from service.api.app import create_app
from service.net.client import Channel
from service.sandbox.jobs import Knobs
from service.sandbox.serve import serve
from service.sandbox.world import World
from tests.service.api.house import House, account, until
from tests.service.core.pictures import jpeg, png, webp

Calling = Callable[[str], httpx.AsyncClient]


@pytest.fixture
async def world(house: House) -> AsyncIterator[World]:
    """The sandbox, behind every account that may upload."""
    world = World(Knobs(job_seconds=None))
    server = await serve(world)
    for name in ("ulazai", "acedata"):
        channel = Channel(name=name, base_url=server.url, api_key="secret-provider-key")
        house.context.accounts[name] = account(name, name, None, channel=channel)  # type: ignore[index]
    yield world
    await server.stop()


async def send(client: httpx.AsyncClient, content: bytes, name: str = "a.png", **fields: str) -> httpx.Response:
    return await client.post("/v1/uploads", files={"file": (name, content, "image/png")}, data=fields)


@pytest.mark.parametrize("provider", ["ulazai", "acedata"])
@pytest.mark.parametrize(
    ("content", "type"),
    [(png(4, 5), "image/png"), (jpeg(4, 5), "image/jpeg"), (webp(4, 5), "image/webp")],
    ids=["png", "jpeg", "webp"],
)
async def test_an_image_gets_a_url_and_the_answer_says_that_it_is_public(
    client: httpx.AsyncClient, world: World, provider: str, content: bytes, type: str
) -> None:
    answer = await send(client, content, provider=provider)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["url"].startswith("https://") and made["public"] is True and "public" in made["notice"]
    told = {name: made[name] for name in ("object", "provider", "account", "type", "bytes", "width", "height")}
    assert told == {
        "object": "upload", "provider": provider, "account": provider, "type": type, "bytes": len(content), "width": 4, "height": 5,
    }  # fmt: skip


async def test_the_clients_own_name_for_the_file_goes_no_further(client: httpx.AsyncClient, world: World) -> None:
    answer = await send(client, png(), name='../../<script>".svg', account="ulazai")
    assert answer.status_code == 201
    [asked] = world.requests
    assert "script" not in str(asked) and answer.json()["url"].endswith(".png")


@pytest.mark.parametrize(
    "content",
    [b"<svg/>", b"<html>", b"GIF89a" + b"\0" * 50, png() + b"<script>", png()[:-6], b""],
    ids=["svg", "html", "gif", "polyglot", "cut", "empty"],
)
async def test_what_is_no_image_is_415_and_goes_nowhere(
    client: httpx.AsyncClient, world: World, content: bytes
) -> None:
    answer = await send(client, content, name="fine.png", provider="ulazai")
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert not world.requests


async def test_a_file_is_counted_while_it_comes(house: House, client: httpx.AsyncClient, world: World) -> None:
    most = house.context.limits.upload_bytes
    assert most == 10 * 1024 * 1024
    for content in (b"\x89PNG\r\n\x1a\n" + b"\0" * most, b"\0" * (most * 2)):
        answer = await send(client, content, provider="ulazai")
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    seen = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal seen
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        while True:
            seen += 65536
            yield b"\0" * 65536

    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = await client.post("/v1/uploads", content=endless(), headers=headers)
    assert answer.status_code == 413 and seen < most + 1_000_000
    assert not world.requests


BAD: list[tuple[dict[str, str], str, str]] = [
    ({}, "/account", "Images are stored by"),
    ({"account": "ulazai", "provider": "ulazai"}, "/account", "one of them"),
    ({"provider": "cloudsway"}, "/provider", "cloudsway stores no images"),
    ({"account": "cloudsway"}, "/account", "cloudsway stores no images"),
    ({"account": "nope"}, "/account", 'There is no account "nope"'),
    ({"provider": "klingon"}, "/provider", "There is no provider"),
    ({"account": "spare"}, "/account", "ENABLED=true"),
    ({"provider": "ulazai", "path": "x"}, "/path", "no such field"),
]


@pytest.mark.parametrize(("fields", "pointer", "detail"), BAD)
async def test_who_shall_take_it_is_judged_first(
    client: httpx.AsyncClient, world: World, fields: dict[str, str], pointer: str, detail: str
) -> None:
    answer = await send(client, png(), **fields)
    assert answer.status_code == 422
    told = {fault["pointer"]: fault["detail"] for fault in answer.json()["errors"]}
    assert detail in told[pointer]
    assert not world.requests


async def test_a_form_without_a_file_is_told_which_field(client: httpx.AsyncClient, world: World) -> None:
    answer = await client.post("/v1/uploads", files={"provider": (None, "ulazai")})
    assert answer.json()["errors"][0]["pointer"] == "/file"


async def test_a_provider_that_cannot_be_reached_is_a_502_that_names_it(
    client: httpx.AsyncClient, world: World, house: House
) -> None:
    house.context.accounts["ulazai"] = account(  # type: ignore[index]
        "ulazai",
        "ulazai",
        None,
        channel=Channel(name="ulazai", base_url="http://127.0.0.1:9", api_key="secret-provider-key"),
    )
    answer = await send(client, png(), provider="ulazai")
    assert (answer.status_code, answer.json()["code"]) == (502, "upload_failed")
    assert "ulazai did not store the image" in answer.json()["detail"] and "secret" not in answer.text


async def test_a_provider_that_refuses_it_is_told_in_its_words(
    client: httpx.AsyncClient, world: World, house: House
) -> None:
    world.knobs.api_key = "another"
    answer = await send(client, png(), provider="ulazai")
    assert answer.status_code == 502 and "HTTP 401" in answer.json()["detail"]


async def test_only_a_few_at_once_are_held_in_memory(house: House, client: httpx.AsyncClient, world: World) -> None:
    arrived = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"--b\r\n"
        await arrived.wait()

    house.context.uploading.clear()
    app = create_app(replace(house.context, limits=replace(house.context.limits, uploads=1)))
    headers = {"content-type": "multipart/form-data; boundary=b"}
    async with house.client(app, house.key) as busy:
        first = asyncio.create_task(busy.post("/v1/uploads", content=slow(), headers=headers))
        await until(lambda: bool(house.context.uploading))
        refused = await send(busy, png(), provider="ulazai")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        arrived.set()
        assert (await first).status_code == 400
        assert (await send(busy, png(), provider="ulazai")).status_code == 201
    assert house.context.uploading == set()


async def test_a_key_needs_the_scope_for_tasks(calling: Calling, house: House, world: World) -> None:
    async with calling(await house.key_with("read")) as reader:
        assert (await send(reader, png(), provider="ulazai")).status_code == 403
    async with calling("") as nobody:
        answer = await send(nobody, png(), provider="ulazai")
    assert answer.status_code == 401
