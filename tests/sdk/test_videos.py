"""`client.videos` of the published SDKs against a running service: everything they call, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from service.cli.demo.stage import free_port
from service.sandbox.accounts import label
from service.sandbox.jobs import Knobs
from tests.e2e.stack import Stack, installation
from tests.sdk import packages
from tests.sdk.player import FILM, Files, Player, as_bytes, files, lossy, picture, playing

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]

CLOUDSWAY = "cloudsway/kling-3.0-turbo"
ULAZAI = "ulazai/kling-3.0"
PUSHED = "pushed/kling-3.0-turbo"  # an account of which pushes decide, and which is not polled for ten minutes
ONCE = {"max_retries": 0}
MANNERS = [(major, manner) for major in packages.MAJORS for manner in ("sync", "async")]


class Scene:
    """A service with a provider, a place for outputs, and the SDKs."""

    def __init__(self, stack: Stack, outputs: Files) -> None:
        self.stack = stack
        self.outputs = outputs
        self.players: dict[tuple[str, str], Player] = {}

    def queries_of(self, key: str) -> int:
        asked = self.stack.world.requests
        return sum(one.kind == "query" and one.account == label(key) for one in asked)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    settings = {
        "TASKRELAY_ACCOUNTS__PUSHED__PROVIDER": "cloudsway",
        "TASKRELAY_ACCOUNTS__PUSHED__API_KEY": "pushed",
        "TASKRELAY_ACCOUNTS__PUSHED__ENDPOINT_PATH": "pushed",
        "TASKRELAY_ACCOUNTS__PUSHED__CALLBACKS": "trust",
        "TASKRELAY_ACCOUNTS__PUSHED__EXPECTED_SECONDS": "600",
        "TASKRELAY_ACCOUNTS__AWAY__PROVIDER": "ulazai",
        "TASKRELAY_ACCOUNTS__AWAY__API_KEY": "away",
        "TASKRELAY_ACCOUNTS__AWAY__BASE_URL": f"http://127.0.0.1:{free_port()}",
    }
    async with AsyncExitStack() as ending:
        outputs = await ending.enter_async_context(files())
        folder: Path = tmp_path_factory.mktemp("sdk")
        knobs = Knobs(job_seconds=0.5, output_base=outputs.url)
        stack = await ending.enter_async_context(installation(folder, knobs=knobs, settings=settings))
        stack.extra["TASKRELAY_ACCOUNTS__PUSHED__BASE_URL"] = stack.provider.url
        await stack.start()
        made = Scene(stack, outputs)
        for major, manner in MANNERS:
            place = await asyncio.to_thread(packages.python, major)
            player = playing(place, manner, f"{stack.url}/openai/v1", stack.key)
            made.players[major, manner] = await ending.enter_async_context(player)
        yield made


@pytest_asyncio.fixture(params=MANNERS, ids="-".join, loop_scope="module")
async def player(request: pytest.FixtureRequest, scene: Scene) -> Player:
    return scene.players[request.param]


async def test_the_players_play_the_published_versions(scene: Scene) -> None:
    versions = {major: await scene.players[major, "sync"].do("version") for major in packages.MAJORS}
    assert {major: version.split(".")[0] for major, version in versions.items()} == {"2": "2", "3": "3"}


async def test_create_takes_what_the_sdk_sends(player: Player, scene: Scene) -> None:
    plain = await player.do("videos.create", prompt="Ein Boot, bitte: ß", model=CLOUDSWAY, seconds="5", size="720x1280")
    assert plain["class"] == "Video" and plain["object"] == "video" and plain["id"].startswith("task_")
    assert (plain["status"], plain["seconds"], plain["size"], plain["model"]) == ("queued", "5", "720x1280", CLOUDSWAY)
    more = {
        "metadata": {"order": "8841", "käse": "yes"},
        "reference": f"order-{uuid.uuid4()}",
        "deadline_seconds": 900,
        "shots": [{"prompt": "A boat", "duration": 2}, {"prompt": "A gutter", "duration": 3}],
        "watermark": True,
    }
    rich = await player.do("videos.create", prompt="A boat", model=CLOUDSWAY, seconds="5", extra_body=more)
    task = await scene.stack.task(rich["id"])
    assert (task["metadata"], task["reference"]) == (more["metadata"], more["reference"])
    assert (task["input"]["shots"], task["input"]["watermark"]) == (more["shots"], True)


async def test_a_picture_comes_as_a_file_as_bytes_or_as_a_url(player: Player, scene: Scene) -> None:
    named = {"$tuple": ["boat.png", as_bytes(picture()), "image/png"]}
    for reference in (named, as_bytes(picture())):
        made = await player.do(
            "videos.create", prompt="A boat", model=ULAZAI, size="1280x720", input_reference=reference
        )
        task = await scene.stack.task(made["id"])
        assert task["input"]["image"].startswith("http") and made["size"] is None  # the picture decides
    url = "https://assets.example.org/a.png"
    for body in ({"input_reference": {"image_url": url}}, {"input_reference": url}, {"image": url}):
        made = await player.do("videos.create", prompt="A boat", model=CLOUDSWAY, extra_body=body)
        assert (await scene.stack.task(made["id"]))["input"]["image"] == url


async def test_create_and_poll_ends_by_pushes_alone(player: Player, scene: Scene) -> None:
    made = await player.do("videos.create_and_poll", prompt="A boat", model=PUSHED, seconds="5")
    assert (made["status"], made["progress"], made["error"]) == ("completed", 100, None)
    assert scene.queries_of("pushed") == 0


async def test_create_and_poll_ends_by_polling_alone(player: Player) -> None:
    made = await player.do("videos.create_and_poll", prompt="A boat", model=ULAZAI, seconds="5")
    assert (made["status"], made["progress"]) == ("completed", 100)


async def test_create_and_poll_of_what_fails_says_why(player: Player) -> None:
    made = await player.do("videos.create_and_poll", prompt="[sandbox: refuse]", model=CLOUDSWAY)
    assert (made["status"], made["error"]["code"]) == ("failed", "content_rejected")
    assert "risk control" in made["error"]["message"]


async def test_create_and_poll_of_what_never_ends_is_over_at_the_deadline(scene: Scene) -> None:
    async def waited(player: Player) -> Any:
        body = {"deadline_seconds": 60}
        return await player.do("videos.create_and_poll", prompt="[sandbox: stuck]", model=CLOUDSWAY, extra_body=body)

    found = await asyncio.gather(*map(waited, scene.players.values()))
    assert [(one["status"], one["error"]["code"]) for one in found] == [("failed", "expired")] * len(MANNERS)


async def test_the_list_is_walked_in_either_order(player: Player) -> None:
    made = [(await player.do("videos.create", prompt=f"{n}", model=CLOUDSWAY))["id"] for n in range(3)]
    everything = [id for page in await player.do("pages", limit=100) for id in page]
    some = max(len(everything) // 3, 1)
    for order, expected in (("desc", everything), ("asc", everything[::-1])):
        pages = await player.do("pages", limit=some, order=order)
        assert len(pages) >= 3 and [id for page in pages for id in page] == expected
    assert everything[:3] == made[::-1]


async def test_delete_erases_what_has_ended_and_refuses_what_goes_on(player: Player, scene: Scene) -> None:
    made = await player.do("videos.create_and_poll", prompt="A secret boat", model=PUSHED)
    for _ in range(2):  # a retry is told the same
        gone = await player.do("videos.delete", video_id=made["id"])
        assert (gone["id"], gone["object"], gone["deleted"]) == (made["id"], "video.deleted", True)
    assert (await player.refused("videos.retrieve", video_id=made["id"]))["class"] == "NotFoundError"
    assert made["id"] not in [id for page in await player.do("pages", limit=100) for id in page]
    assert (await scene.stack.task(made["id"]))["input"] == {}
    stuck = await player.do("videos.create", prompt="[sandbox: stuck]", model=CLOUDSWAY)
    refused = await player.refused("videos.delete", video_id=stuck["id"])
    assert (refused["class"], refused["code"]) == ("ConflictError", "cannot_erase") and "It goes on" in refused["text"]


async def test_download_follows_to_the_file_and_leaves_the_key_behind(player: Player, scene: Scene) -> None:
    made = await player.do("videos.create_and_poll", prompt="A boat", model=PUSHED)
    before = len(scene.outputs.keys)
    film = await player.do("videos.download_content", video_id=made["id"])
    assert base64.b64decode(film) == FILM and scene.outputs.keys[before:] == [None]
    other = await player.refused("videos.download_content", video_id=made["id"], variant="thumbnail")
    assert (other["class"], other["code"]) == ("NotFoundError", "not_offered")
    stuck = await player.do("videos.create", prompt="[sandbox: stuck]", model=CLOUDSWAY)
    early = await player.refused("videos.download_content", video_id=stuck["id"])
    assert (early["class"], early["code"]) == ("ConflictError", "output_not_ready")


async def test_every_refusal_is_an_exception_of_the_sdk_with_our_words(player: Player, scene: Scene) -> None:
    reader = (await scene.stack.command("keys", "create", "--name", "r", "--scope", "read", "--json"))["key"]
    reference = f"order-{uuid.uuid4()}"
    order: dict[str, Any] = {"prompt": "A boat", "model": CLOUDSWAY}
    await player.do("videos.create", **order, extra_body={"reference": reference})
    named = {"Idempotency-Key": f'"{uuid.uuid4()}"'}
    await player.do("videos.create", **order, extra_headers=named)
    asked = [
        (400, "BadRequestError", "makes 3 to 15 seconds", order | {"seconds": "99"}, {}),
        (400, "BadRequestError", "makes 1280x720", order | {"size": "1x1"}, {}),
        (400, "BadRequestError", "provider/model", order | {"model": "sora-2"}, {}),
        (401, "AuthenticationError", "No key that is known here", order, {"api_key": "trk_no"}),
        (403, "PermissionDeniedError", 'needs the scope "tasks"', order, {"api_key": reader}),
        (409, "ConflictError", "belongs to task_", order | {"extra_body": {"reference": reference}}, {}),
        (422, "UnprocessableEntityError", "Idempotency-Key", order | {"prompt": "B", "extra_headers": named}, {}),
        (502, "InternalServerError", "ulazai did not store the image", _away(), ONCE),
    ]
    for status, kind, words, arguments, client in asked:
        refused = await player.refused("videos.create", dict(client), **arguments)
        assert (refused["status"], refused["class"]) == (status, kind), refused
        assert words in refused["text"] and refused["request_id"].startswith("req_"), refused
    missing = await player.refused("videos.retrieve", video_id="task_" + "0" * 26)
    assert (missing["class"], missing["status"]) == ("NotFoundError", 404) and "no task with this id" in missing["text"]
    remix = await player.refused("videos.remix", video_id="task_" + "0" * 26, prompt="x")
    assert (remix["class"], remix["code"]) == ("NotFoundError", "not_offered")


def _away() -> dict[str, object]:
    return {"prompt": "A boat", "model": "away/kling-3.0", "input_reference": as_bytes(picture())}


async def test_a_reply_to_create_that_is_lost_buys_nothing_twice(player: Player, scene: Scene) -> None:
    prompt = f"A boat that is wanted once {uuid.uuid4()}"
    async with lossy(scene.stack.port) as wire:
        made = await player.do("videos.create", {"base_url": wire.url}, prompt=prompt, model=PUSHED)
        assert wire.lost == 1
    done = await player.do("videos.poll", video_id=made["id"])
    assert done["status"] == "completed"
    async with scene.stack.client() as client:
        listed = (await client.get("/v1/tasks?limit=200")).json()["data"]
    assert [one["id"] for one in listed if one["input"].get("prompt") == prompt] == [made["id"]]
    bought = [job for job in scene.stack.world.jobs.values() if prompt in str(job.asked)]
    assert len(bought) == 1


async def test_models_are_those_that_can_be_asked(player: Player) -> None:
    found = await player.do("models.retrieve", model=CLOUDSWAY)
    assert (found["id"], found["owned_by"]) == (CLOUDSWAY, "cloudsway")
    assert (await player.refused("models.retrieve", model="sora-2"))["class"] == "NotFoundError"
