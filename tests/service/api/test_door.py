from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import hmac
import re
from dataclasses import replace

import httpx
import orjson
import pytest

from service.api.app import Api, create_app
from service.api.context import Limits
from service.api.door import Door
from service.core.tokens import Tokens
from service.pipeline.accounts import Callbacks
from service.pipeline.callback import CallbackDesk
from service.pipeline.recorder import Recorder
from storage import callbacks, lanes
from storage.errors import Unavailable
from storage.records import LaneKind
from tests.service.api.house import House, account, desk, order

SECRET = "whsec_" + base64.b64encode(b"s" * 24).decode()


async def ready(client: httpx.AsyncClient, house: House) -> tuple[str, str]:
    """A task at its provider, and the path its provider pushes to."""
    task = (await client.post("/v1/tasks", json=order())).json()
    submission = await house.bought(task["id"])
    return task["id"], f"/callbacks/cloudsway/{house.context.tokens.callback('cloudsway', submission)}"


def says(status: str, task: str, job: str = "job-1") -> bytes:
    videos = [{"url": "https://cdn.example.net/a.mp4"}] if status == "succeeded" else []
    return orjson.dumps({"id": job, "status": status, "external_id": task, "outputs": videos})


async def bells(house: House, account: str = "cloudsway") -> list[tuple[str, str]]:
    found = await house.context.database.read(lambda tx: callbacks.unverified(tx, account, batch=100))
    return [(bell.task_id, bell.claim) for bell in found]


async def test_a_push_is_kept_rings_the_lane_and_changes_nothing_by_itself(
    client: httpx.AsyncClient, house: House
) -> None:
    task, path = await ready(client, house)
    answer = await client.post(path, content=says("succeeded", task))
    assert (answer.status_code, answer.content) == (200, b"{}")
    assert await bells(house) == [(task, "succeeded")]
    lane = await house.context.database.read(lambda tx: lanes.get(tx, LaneKind.ACCOUNT, "cloudsway"))
    assert lane is not None and lane.next_due_at is not None and lane.next_due_at <= house.clock()
    assert (await client.get(f"/v1/tasks/{task}")).json()["status"] == "processing"
    [row] = [
        row
        for row in await house.context.database.read(lambda tx: callbacks.of_task(tx, task))
        if row.source == "callback"
    ]
    assert row.raw == says("succeeded", task)


async def test_the_same_push_a_hundred_times_is_one_observation(client: httpx.AsyncClient, house: House) -> None:
    task, path = await ready(client, house)
    answers = await asyncio.gather(*(client.post(path, content=says("succeeded", task)) for _ in range(100)))
    assert {answer.status_code for answer in answers} == {200}
    assert await bells(house) == [(task, "succeeded")]


async def test_bytes_nobody_can_read_are_kept_and_ring(client: httpx.AsyncClient, house: House) -> None:
    task, path = await ready(client, house)
    for body in (b"\xff\xfe", b"", b"[" * 50_000, b'{"id": NaN}'):
        assert (await client.post(path, content=body)).status_code == 200
    assert await bells(house) == [(task, "unknown")] * 4


FORGERIES = ("{token}!!", "{token}=", "{token}é", "{token}/", "", "x", "v1.x.y.z", "../../v1/tasks", "{token}" * 5)


async def test_a_forged_token_costs_no_database_and_no_reading_and_always_looks_the_same(
    client: httpx.AsyncClient, house: House, app: Api
) -> None:
    _, path = await ready(client, house)
    good = path.rsplit("/", 1)[1]
    idle = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = [good[:-1] + letter for letter in idle if letter != good[-1]]
    stranger = Tokens(house.context.keyring, "another installation").callback("cloudsway", "sub_" + "0" * 26)
    output = house.context.tokens.output("task_" + "0" * 26)
    paths = [f"/callbacks/cloudsway/{form.format(token=good)}" for form in FORGERIES]
    paths += [f"/callbacks/cloudsway/{token}" for token in (*last, stranger, output)]
    paths += [f"/callbacks/{other}/{good}" for other in house.context.providers if other != "cloudsway"]
    paths += [f"/callbacks/klingon/{good}", f"/callbacks/{good}", f"/callbacks/cloudsway/x/{good}"]
    before, bodies = await house.sizes(), set()
    for each in paths:
        sent: list[dict[str, object]] = []

        async def receive() -> dict[str, object]:
            raise AssertionError("the body was read")

        async def send(message: dict[str, object], sent: list[dict[str, object]] = sent) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": each, "headers": [(b"content-length", b"5")]}
        await app(scope, receive, send)  # type: ignore[arg-type]
        assert sent[0]["status"] == 404, each
        said = f"{sent[0]} {sent[1]['body']!r}"
        bodies.add(re.sub("req_[0-9A-Z]{26}", "req_", said))  # but for the id of the request
    assert len(bodies) == 1
    assert await house.sizes() == before


async def test_only_post_is_taken(client: httpx.AsyncClient, house: House) -> None:
    _, path = await ready(client, house)
    answer = await client.get(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_body_over_the_cap_is_refused_and_still_rings(
    client: httpx.AsyncClient, house: House, streamed: bool
) -> None:
    task, path = await ready(client, house)
    taken = 0

    async def drips() -> object:
        nonlocal taken
        while taken < 8 << 20:
            taken += 1 << 15
            yield b" " * (1 << 15)

    answer = await client.post(path, content=drips() if streamed else b" " * (1 << 20))  # type: ignore[arg-type]
    assert answer.status_code == 413
    assert taken <= (256 << 10) + (1 << 15)  # not a byte is read beyond what decides
    assert await bells(house) == [(task, "unknown")]


async def test_a_compressed_body_is_refused_unread_and_still_rings_each_second(
    client: httpx.AsyncClient, house: House
) -> None:
    task, path = await ready(client, house)
    for _ in range(2):
        bomb = gzip.compress(b"0" * 1_000_000)
        assert (await client.post(path, content=bomb, headers={"content-encoding": "gzip"})).status_code == 415
        house.clock.advance(5)
    assert await bells(house) == [(task, "unknown")] * 2


async def test_a_push_for_a_submission_nobody_knows_is_kept_as_an_orphan(
    client: httpx.AsyncClient, house: House
) -> None:
    path = f"/callbacks/cloudsway/{house.context.tokens.callback('cloudsway', 'sub_' + '0' * 26)}"
    answer = await client.post(path, content=b"{}")
    assert (answer.status_code, answer.content) == (202, b"{}")
    assert (await house.sizes())["callbacks"] == 1


async def test_what_cannot_be_stored_is_not_acknowledged(client: httpx.AsyncClient, house: House) -> None:
    _, path = await ready(client, house)

    class Full:
        async def write(self, unit: object, /) -> object:
            raise Unavailable("disk full")

    context = house.context
    rules = desk(context.accounts, context.tokens, house.clock, context.entropy)
    recorder = Recorder(Full(), rules, arrived=lambda batch: None)  # type: ignore[arg-type]
    async with house.client(create_app(replace(house.context, recorder=recorder)), "") as provider:
        answer = await provider.post(path, content=b"{}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "disk full" not in answer.text


async def test_a_sender_that_goes_away_in_the_middle_leaves_nothing(client: httpx.AsyncClient, house: House) -> None:
    _, path = await ready(client, house)
    before = await house.sizes()
    cut: list[dict[str, object]] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]
    coming = iter(cut)

    async def receive() -> dict[str, object]:
        return next(coming)

    async def send(message: dict[str, object]) -> None:
        raise AssertionError("nobody is there")

    scope = {"type": "http", "method": "POST", "path": path, "headers": []}
    await create_app(house.context)(scope, receive, send)  # type: ignore[arg-type]
    assert await house.sizes() == before


async def test_a_body_that_never_ends_is_not_waited_for(client: httpx.AsyncClient, house: House) -> None:
    _, path = await ready(client, house)
    context = house.context
    taking = CallbackDesk(
        recorder=context.recorder,
        providers=context.providers,
        read_token=context.tokens.read_callback,
        secrets={},
        clock=context.clock,
    )
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        if not sent_first:
            sent_first.append(True)
            return {"type": "http.request", "body": b"{", "more_body": True}
        return await asyncio.Event().wait()  # type: ignore[return-value]

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    sent_first: list[bool] = []
    door = Door(taking, Limits(body_seconds=0.01), "", mint=context.mint)
    await door({"type": "http", "method": "POST", "path": path, "headers": []}, receive, send)
    assert sent[0]["status"] == 408


@pytest.mark.parametrize(("age", "ends"), [(0, "succeeded"), (301, "processing"), (None, "processing")])
async def test_where_the_provider_signs_a_stripped_or_stale_signature_only_rings(
    client: httpx.AsyncClient, house: House, age: int | None, ends: str
) -> None:
    task, path = await ready(client, house)
    context = house.context
    trusting = account("cloudsway", "cloudsway", context.public_url, callbacks=Callbacks.TRUST, webhook_secret=SECRET)
    accounts = {**context.accounts, "cloudsway": trusting}
    recorder = Recorder(
        context.database, desk(accounts, context.tokens, house.clock, context.entropy), arrived=context.watch.recorded
    )
    body = says("succeeded", task)
    headers = {}
    if age is not None:
        stamp = house.clock() // 1_000_000 - age
        mac = hmac.new(b"s" * 24, f"msg_1.{stamp}.".encode() + body, hashlib.sha256).digest()
        signature = f"v1,{base64.b64encode(mac).decode()}"
        headers = {"webhook-id": "msg_1", "webhook-timestamp": str(stamp), "webhook-signature": signature}
    app = create_app(replace(context, accounts=accounts, recorder=recorder))
    async with house.client(app, house.key) as provider:
        assert (await provider.post(path, content=body, headers=headers)).status_code == 200
        assert (await provider.get(f"/v1/tasks/{task}")).json()["status"] == ends


@pytest.mark.parametrize(("port", "unbelieved"), [(40_000, True), (0, False)])
async def test_a_probe_hears_of_a_proxy_whose_word_on_the_client_does_not_count(
    port: int, unbelieved: bool, app: Api, house: House
) -> None:
    """Of a client behind a proxy that is trusted no port is known."""
    transport = httpx.ASGITransport(app, client=("203.0.113.9", port))
    path = f"/callbacks/acedata/{house.context.tokens.probe('prb_1')}"
    async with httpx.AsyncClient(transport=transport, base_url="http://relay") as client:
        said = (await client.post(path, content=b"x", headers={"x-forwarded-for": "198.51.100.7"})).json()
    assert (said["client"], said["unbelieved_proxy"]) == ("203.0.113.9", unbelieved)


async def test_a_probe_of_our_own_is_answered_over_its_body_and_leaves_nothing(
    client: httpx.AsyncClient, house: House
) -> None:
    tokens, before = house.context.tokens, await house.sizes()
    token, body = tokens.probe("prb_1"), b"x" * 100_000
    answer = await client.post(f"/callbacks/acedata/{token}", content=body)
    assert answer.status_code == 200
    told = {"client": "127.0.0.1", "unbelieved_proxy": False}
    assert answer.json() == {"probe": tokens.echo(token, body), "bytes": 100_000, **told}
    assert tokens.echo(token, body[:-1]) != answer.json()["probe"]
    stranger = Tokens(house.context.keyring, "another installation").probe("prb_1")
    assert (await client.post(f"/callbacks/acedata/{stranger}", content=body)).status_code == 404
    assert (await client.post(f"/callbacks/klingon/{token}", content=body)).status_code == 404
    assert await house.sizes() == before
