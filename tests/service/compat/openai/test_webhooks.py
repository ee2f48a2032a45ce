"""Webhook endpoints: ours of the format openai, and no others; the secret is shown at create and rotate alone."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from service.compat.openai import webhooks
from storage import listings, outbox
from storage.records import Attempt
from tests.service.api.house import House

URL = "https://app.example.org/hooks"
BODY = {"name": "Films", "url": URL, "event_types": ["video.completed", "video.failed"]}
NOBODY = "ep_" + "0" * 26


async def made(client: httpx.AsyncClient, **more: object) -> dict[str, object]:
    reply = await client.post("webhook_endpoints", json={**BODY, **more})
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def places(reply: httpx.Response) -> set[str]:
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request"), reply.text
    return {fault["pointer"] for fault in reply.json()["errors"]}


async def test_an_endpoint_is_one_of_ours_with_the_ends_it_names(client: httpx.AsyncClient) -> None:
    one = await made(client, event_types=["video.failed"])
    ours = (await client.get(f"http://anything.test/v1/endpoints/{one['id']}")).json()
    assert ours["events"] == ["task.failed", "task.canceled", "task.expired"]
    assert (ours["format"], ours["description"], ours["url"]) == ("openai", "Films", URL)
    shown = (await client.get(f"webhook_endpoints/{one['id']}")).json()
    assert one == {**shown, "signing_secret": one["signing_secret"]}
    assert shown["event_types"] == ["video.failed"] and str(one["signing_secret"])[-4:] in shown["signing_secret_hint"]


async def test_a_change_names_only_what_changes(client: httpx.AsyncClient) -> None:
    one = await made(client)
    changed = await client.post(f"webhook_endpoints/{one['id']}", json={"event_types": ["video.completed"]})
    assert changed.status_code == 200, changed.text
    told = changed.json()
    assert (told["event_types"], told["name"], told["url"]) == (["video.completed"], "Films", URL)


async def test_faults_are_named_as_they_were_sent(client: httpx.AsyncClient, house: House) -> None:
    before = await house.sizes()
    wrong = {"name": 5, "url": "ftp://x", "event_types": ["batch.completed"], "more": 1}
    assert places(await client.post("webhook_endpoints", json=wrong)) == {"/name", "/url", "/event_types/0", "/more"}
    assert places(await client.post("webhook_endpoints", json={})) == {"/name", "/url", "/event_types"}
    assert places(await client.post("webhook_endpoints", json=[])) >= {""}
    for types in (None, [], "video.failed", [5]):
        assert places(await client.post("webhook_endpoints", json={**BODY, "event_types": types}))
    assert await house.sizes() == before


async def test_what_an_endpoint_shows_is_accepted_back(client: httpx.AsyncClient) -> None:
    events = {"url": URL, "format": "openai", "events": ["task.succeeded", "task.processing"]}
    ours = (await client.post("http://anything.test/v1/endpoints", json=events)).json()
    types = (await client.get(f"webhook_endpoints/{ours['id']}")).json()["event_types"]
    assert types == ["video.completed", "task.processing"]
    again = await client.post(f"webhook_endpoints/{ours['id']}", json={"event_types": types})
    assert again.json()["event_types"] == types


async def test_a_rotation_ends_the_old_secret_at_once_or_keeps_it_for_a_day(
    client: httpx.AsyncClient, house: House
) -> None:
    one = await made(client)
    path = f"webhook_endpoints/{one['id']}/rotate_secret"
    kept = await client.post(path, json={"keep_old_secret_active_for_24_hours": True})
    assert kept.json()["signing_secret"] != one["signing_secret"]
    secrets = f"http://anything.test/v1/endpoints/{one['id']}/secret"
    assert len((await client.get(secrets)).json()["retiring"]) == 1
    last = await client.post(path)
    assert (await client.get(secrets)).json() | {"created_at": ""} == {
        "object": "endpoint_secret", "endpoint": one["id"], "secret": last.json()["signing_secret"], "created_at": "", "retiring": [],
    }  # fmt: skip
    assert places(await client.post(path, json={"keep_old_secret_active_for_24_hours": "yes"}))


async def test_a_lost_answer_is_told_again_with_the_same_secret(client: httpx.AsyncClient) -> None:
    named = {"idempotency-key": '"one"'}
    first, again = [await client.post("webhook_endpoints", json=BODY, headers=named) for _ in range(2)]
    assert first.content == again.content


async def test_the_list_holds_those_of_the_format_newest_first(client: httpx.AsyncClient) -> None:
    first, last = [str((await made(client))["id"]) for _ in range(2)]
    await client.post("http://anything.test/v1/endpoints", json={"url": URL})
    page = (await client.get("webhook_endpoints", params={"limit": 1})).json()
    assert ([one["id"] for one in page["data"]], page["has_more"], page["last_id"]) == ([last], True, last)
    assert "signing_secret" not in page["data"][0] and page["data"][0]["signing_secret_hint"]
    rest = (await client.get("webhook_endpoints", params={"after": last})).json()
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == ([first], False)


async def test_delete_is_done_once_and_told_twice(client: httpx.AsyncClient) -> None:
    one = await made(client)
    for _ in range(2):
        reply = await client.delete(f"webhook_endpoints/{one['id']}")
        assert reply.json() == {"id": one["id"], "object": "webhook_endpoint.deleted", "deleted": True}
    assert (await client.get(f"webhook_endpoints/{one['id']}")).status_code == 404


async def test_endpoints_of_others_and_of_other_formats_are_not_there(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    mine = (await made(client))["id"]
    standard = (await client.post("http://anything.test/v1/endpoints", json={"url": URL})).json()["id"]
    asked = [("GET", "", None), ("POST", "", {"name": "x"}), ("DELETE", "", None), ("POST", "/rotate_secret", {})]
    for method, path, body in [*asked, ("POST", "/test", {"event_type": "video.failed"})]:
        for who, id in ((stranger, mine), (client, standard), (client, NOBODY)):
            reply = await who.request(method, f"webhook_endpoints/{id}{path}", json=body)
            assert (reply.status_code, reply.json()["code"]) == (404, "not_found"), (method, path)
    assert (await stranger.get("webhook_endpoints")).json()["data"] == []
    assert (await client.get(f"http://anything.test/v1/endpoints/{standard}")).status_code == 200


async def test_event_types_are_those_that_are_sent(client: httpx.AsyncClient) -> None:
    listed = (await client.get("webhook_event_types")).json()
    assert listed == {"object": "list", "data": ["video.completed", "video.failed"]}


async def attempted(house: House, status_code: int | None, error_class: str | None) -> None:
    """A relay's part: the one attempt of the sample that is due."""
    database = house.context.database

    async def waiting() -> list[str]:
        rows = await database.read(lambda tx: tx.fetch("SELECT id FROM deliveries WHERE status = 'pending'"))
        return [str(id) for (id,) in rows]

    async with asyncio.timeout(30):
        while not (found := await waiting()):  # noqa: ASYNC110 (the row is another request's)
            await asyncio.sleep(0.01)
    attempt = Attempt(
        delivery_id=found[0], number=1, at=house.clock(), duration_ms=None, status_code=status_code,
        error_class=error_class, response_head=None,
    )  # fmt: skip
    await database.write(lambda tx: outbox.note_attempts(tx, [attempt]))
    assert (await database.read(lambda tx: listings.attempts(tx, found)))[found[0]]


@pytest.mark.parametrize(
    ("status", "error", "answer"),
    [(204, None, (200, 204)), (500, "http", (200, 500)), (None, "refused", (400, "endpoint_unreachable"))],
)
async def test_a_test_tells_what_the_endpoint_said(
    client: httpx.AsyncClient, house: House, status: int | None, error: str | None, answer: tuple[int, object]
) -> None:
    one = await made(client)
    asked = client.post(f"webhook_endpoints/{one['id']}/test", json={"event_type": "video.failed"})
    reply, _ = await asyncio.gather(asked, attempted(house, status, error))
    told = reply.json()
    assert (reply.status_code, told.get("status_code") or told["code"]) == answer
    again = await client.post(f"webhook_endpoints/{one['id']}/test", json={"event_type": "video.failed"})
    assert (again.status_code, again.json()["code"]) == (429, "too_soon")


async def test_a_test_that_nobody_sends_ends_and_is_not_tried_again(
    client: httpx.AsyncClient, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "TEST_SECONDS", 0.0)
    one = await made(client)
    reply = await client.post(f"webhook_endpoints/{one['id']}/test", json={"event_type": "video.completed"})
    assert (reply.status_code, reply.headers["x-should-retry"]) == (503, "false")
    await client.post(f"http://anything.test/v1/endpoints/{one['id']}/pause")
    paused = await client.post(f"webhook_endpoints/{one['id']}/test", json={"event_type": "video.completed"})
    assert (paused.status_code, paused.json()["code"]) == (409, "endpoint_inactive")
    assert places(await client.post(f"webhook_endpoints/{one['id']}/test", json={"event_type": "task.failed"}))
