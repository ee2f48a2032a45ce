"""`client.webhooks` of the published SDKs: 3.x manages our endpoints, both verify what we send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from service.sandbox.subscriber import Received
from tests.e2e.stack import Stack, installation
from tests.sdk import packages
from tests.sdk.player import Player, playing

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]

MODEL = "cloudsway/kling-3.0-turbo"
TYPES = ["video.completed", "video.failed"]
Players = dict[tuple[str, str], Player]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with installation(tmp_path_factory.mktemp("sdk")) as made:
        await made.start()
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def players(stack: Stack) -> AsyncIterator[Players]:
    async with AsyncExitStack() as ending:
        found: Players = {}
        for major in packages.MAJORS:
            place = await asyncio.to_thread(packages.python, major)
            for manner in ("sync", "async"):
                player = playing(place, manner, f"{stack.url}/openai/v1", stack.key)
                found[major, manner] = await ending.enter_async_context(player)
        yield found


async def received(stack: Stack, path: str, count: int = 1) -> list[Received]:
    """What came at a path, once so many have."""

    def there() -> list[Received]:
        return [one for one in stack.subscriber.received if one.path.strip("/") == path]

    await stack.until(lambda: len(there()) >= count, f"{count} at {path}")
    return there()


async def unwrapped(player: Player, one: Received, secret: str) -> Any:
    return await player.do("webhooks.unwrap", payload=one.body, headers=dict(one.headers), secret=secret)


@pytest.mark.parametrize("manner", ["sync", "async"])
async def test_an_endpoint_from_create_to_delete(manner: str, stack: Stack, players: Players) -> None:
    player, path = players["3", manner], f"hook-{manner}"
    url = f"{stack.receiver.url}/{path}"
    made = await player.do("webhooks.create", name="Films", url=url, event_types=TYPES)
    secret = made["signing_secret"]
    assert (made["class"], made["object"]) == ("WebhookEndpointWithSecret", "webhook_endpoint")
    assert (made["name"], made["url"], made["event_types"]) == ("Films", url, TYPES)
    assert secret.startswith("whsec_") and made["signing_secret_hint"].endswith(secret[-4:])

    read = await player.do("webhooks.retrieve", webhook_endpoint_id=made["id"])
    assert "signing_secret" not in read and read["signing_secret_hint"] == made["signing_secret_hint"]
    changed = await player.do("webhooks.update", webhook_endpoint_id=made["id"], name="Film events")
    assert (changed["name"], changed["url"]) == ("Film events", url)
    assert await player.do("webhooks.event_types.list") | {"class": ""} == {
        "object": "list",
        "data": TYPES,
        "class": "",
    }

    film = await player.do("videos.create", prompt="A boat", model=MODEL)
    [first] = await received(stack, path)
    event = await unwrapped(player, first, secret)
    assert (event["type"], event["object"], event["data"]["id"]) == ("video.completed", "event", film["id"])

    rotated = await player.do(
        "webhooks.rotate_secret", webhook_endpoint_id=made["id"], keep_old_secret_active_for_24_hours=True
    )
    fresh = rotated["signing_secret"]
    assert fresh != secret
    failed = await player.do("videos.create", prompt="[sandbox: refuse]", model=MODEL)
    [_, second] = await received(stack, path, 2)
    for one in (secret, fresh):
        event = await unwrapped(player, second, one)
        assert (event["type"], event["data"]["id"]) == ("video.failed", failed["id"])

    tested = await player.do("webhooks.test", webhook_endpoint_id=made["id"], event_type="video.completed")
    assert (tested["status_code"], tested["success"], tested["event_type"]) == (204, True, "video.completed")
    [*_, sample] = await received(stack, path, 3)
    assert (await unwrapped(player, sample, fresh))["type"] == "video.completed"
    again = await player.refused(
        "webhooks.test", {"max_retries": 0}, webhook_endpoint_id=made["id"], event_type="video.failed"
    )
    assert (again["class"], again["code"]) == ("RateLimitError", "too_soon")

    await player.do("webhooks.rotate_secret", webhook_endpoint_id=made["id"])
    await player.do("videos.create", prompt="A boat", model=MODEL)
    [*_, last] = await received(stack, path, 4)
    for gone in (secret, fresh):
        refused = await player.refused("webhooks.unwrap", payload=last.body, headers=dict(last.headers), secret=gone)
        assert refused["class"] == "InvalidWebhookSignatureError"

    deleted = await player.do("webhooks.delete", webhook_endpoint_id=made["id"])
    assert (deleted["id"], deleted["object"], deleted["deleted"]) == (made["id"], "webhook_endpoint.deleted", True)
    assert (await player.refused("webhooks.retrieve", webhook_endpoint_id=made["id"]))["class"] == "NotFoundError"


@pytest.mark.parametrize("manner", ["sync", "async"])
async def test_endpoints_are_listed_page_by_page(manner: str, stack: Stack, players: Players) -> None:
    player, made = players["3", manner], []
    for number in range(5):
        url = f"{stack.receiver.url}/nothing-{number}"
        made.append((await player.do("webhooks.create", name=f"{number}", url=url, event_types=TYPES[1:]))["id"])
    pages = await player.do("endpoints", limit=2)
    assert [id for page in pages for id in page][:5] == made[::-1] and len(pages) >= 3
    for one in made:
        await player.do("webhooks.delete", webhook_endpoint_id=one)


async def test_a_test_of_what_does_not_listen_says_so(stack: Stack, players: Players) -> None:
    player = players["3", "sync"]
    made = await player.do("webhooks.create", name="Nobody", url="http://127.0.0.1:9/hook", event_types=TYPES)
    refused = await player.refused("webhooks.test", webhook_endpoint_id=made["id"], event_type="video.failed")
    assert (refused["class"], refused["code"]) == ("BadRequestError", "endpoint_unreachable"), refused
    await player.do("webhooks.delete", webhook_endpoint_id=made["id"])


@pytest.mark.parametrize("manner", ["sync", "async"])
async def test_the_older_sdk_verifies_what_an_endpoint_of_our_own_api_gets(
    manner: str, stack: Stack, players: Players
) -> None:
    player, path = players["2", manner], f"older-{manner}"
    async with stack.client() as client:
        body = {"url": f"{stack.receiver.url}/{path}", "format": "openai"}
        endpoint = (await client.post("/v1/endpoints", json=body)).json()
    film = await player.do("videos.create", prompt="A boat", model=MODEL)
    [first] = await received(stack, path)
    event = await unwrapped(player, first, endpoint["secret"])
    assert (event["type"], event["data"]["id"]) == ("video.completed", film["id"])
    other = "whsec_" + "A" * 32
    refused = await player.refused("webhooks.unwrap", payload=first.body, headers=dict(first.headers), secret=other)
    assert refused["class"] == "InvalidWebhookSignatureError"
    async with stack.client() as client:
        await client.delete(f"/v1/endpoints/{endpoint['id']}")
