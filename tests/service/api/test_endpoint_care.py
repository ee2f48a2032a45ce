from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from service.api.endpoint_care import quantile
from service.core.events import EventType
from storage import outbox
from storage.records import Attempt, LaneKind
from tests.service.api.house import House, order
from tests.service.api.test_endpoints import subscribe
from tests.service.core.schemas import faults

Calling = Callable[[str], httpx.AsyncClient]
ROUTES = [
    ("POST", "test"),
    ("POST", "pause"),
    ("POST", "resume"),
    ("GET", "secret"),
    ("POST", "rotate"),
    ("GET", "stats"),
    ("POST", "replay"),
]


async def did(client: httpx.AsyncClient, id: object, what: str, **body: object) -> httpx.Response:
    return (
        await client.post(f"/v1/endpoints/{id}/{what}", json=body)
        if body
        else await client.post(f"/v1/endpoints/{id}/{what}")
    )


async def run(house: House, sql: str) -> list[tuple[object, ...]]:
    return await house.context.database.write(lambda tx: tx.fetch(sql))


@pytest.mark.parametrize(("method", "what"), ROUTES)
async def test_another_projects_endpoint_is_not_there(
    client: httpx.AsyncClient, house: House, calling: Calling, method: str, what: str
) -> None:
    made = await subscribe(client)
    body = {"which": "failed", "since": "2026-01-01T00:00:00Z"} if what == "replay" else None
    async with calling(house.keys["stranger"]) as stranger:
        for id in (made["id"], "ep_" + "0" * 26, "ep_1"):
            answer = await stranger.request(method, f"/v1/endpoints/{id}/{what}", json=body)
            assert answer.status_code == 404, answer.text
    assert (await client.get(f"/v1/endpoints/{made['id']}")).json()["status"] == "active"


@pytest.mark.parametrize(("method", "what"), ROUTES)
async def test_reading_alone_does_not_allow_it(
    client: httpx.AsyncClient, house: House, calling: Calling, method: str, what: str
) -> None:
    made = await subscribe(client)
    async with calling(await house.key_with("read", "tasks")) as reader:
        answer = await reader.request(method, f"/v1/endpoints/{made['id']}/{what}")
        assert answer.status_code == (200 if what == "stats" else 403)


async def test_a_paused_endpoint_is_owed_and_a_resumed_one_is_rung(client: httpx.AsyncClient, house: House) -> None:
    made = await subscribe(client)
    house.clock.advance(1)
    paused = (await did(client, made["id"], "pause")).json()
    assert (paused["status"], paused["inactive_since"]) == ("paused", paused["updated_at"])
    assert (await did(client, made["id"], "pause")).json() == paused
    task = (await client.post("/v1/tasks", json=order())).json()
    await house.succeeded(task["id"])
    [owed] = (await client.get("/v1/deliveries")).json()["data"]
    assert owed["status"] == "pending"
    await run(house, "UPDATE lanes SET next_due_at = NULL")
    house.rung.clear()
    resumed = (await did(client, made["id"], "resume")).json()
    assert (resumed["status"], resumed["inactive_since"], resumed["missed_since"]) == ("active", None, None)
    assert (LaneKind.ENDPOINT, made["id"]) in [key for key, _ in house.rung]
    assert await run(house, "SELECT next_due_at FROM lanes WHERE kind = 'endpoint'") == [(house.clock(),)]


async def test_a_disabled_one_is_resumed_with_what_it_missed(client: httpx.AsyncClient, house: House) -> None:
    made = await subscribe(client)
    await run(
        house,
        "UPDATE endpoints SET status = 'disabled', disabled_reason = 'gone', inactive_since = 1790000000000000,"
        " health = '{\"since\":5}'",
    )
    for what in ("pause", "test"):
        refused = await did(client, made["id"], what)
        assert (refused.status_code, refused.json()["code"]) == (409, "endpoint_inactive")
    refused = await did(client, made["id"], "replay", which="missing", since="2026-01-01T00:00:00Z")
    assert refused.json()["code"] == "endpoint_inactive"
    resumed = (await did(client, made["id"], "resume")).json()
    assert (resumed["status"], resumed["disabled_reason"], resumed["failing_since"]) == ("active", None, None)
    assert resumed["missed_since"] == "2026-09-21T14:13:20.000000Z"


async def test_a_lease_that_ended_is_renewed_before_it_is_resumed(client: httpx.AsyncClient, house: House) -> None:
    made = await subscribe(client)
    await run(house, "UPDATE endpoints SET status = 'disabled', disabled_reason = 'expired', expires_at = 5")
    refused = await did(client, made["id"], "resume")
    assert refused.status_code == 409 and "expires_at" in refused.json()["detail"]
    await client.patch(f"/v1/endpoints/{made['id']}", json={"expires_at": None})
    assert (await did(client, made["id"], "resume")).json()["status"] == "active"


async def test_a_rotated_secret_is_shown_and_the_old_one_retires(client: httpx.AsyncClient, house: House) -> None:
    made = await subscribe(client)
    path = f"/v1/endpoints/{made['id']}/secret"
    assert (await client.get(path)).json()["secret"] == made["secret"]
    rotated = (await did(client, made["id"], "rotate")).json()
    assert rotated["secret"] != made["secret"]
    shown = (await client.get(path)).json()
    assert shown["secret"] == rotated["secret"]
    assert [one["retires_at"] for one in shown["retiring"]] == [rotated["old_secret_retires_at"]]
    house.clock.advance(86_400)
    assert (await client.get(path)).json()["retiring"] == []
    own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    await did(client, made["id"], "rotate", overlap_seconds=0, secret=own)
    assert (await client.get(path)).json() | {"created_at": 0} == {
        "object": "endpoint_secret",
        "endpoint": made["id"],
        "secret": own,
        "created_at": 0,
        "retiring": [],
    }


@pytest.mark.parametrize(
    "body",
    [{"overlap_seconds": 604_801}, {"overlap_seconds": -1}, {"overlap_seconds": True}, {"x": 1}, {"secret": "x"}],
)
async def test_a_bad_rotation_keeps_the_secret(client: httpx.AsyncClient, body: dict[str, object]) -> None:
    made = await subscribe(client)
    assert (await did(client, made["id"], "rotate", **body)).status_code == 422
    assert (await client.get(f"/v1/endpoints/{made['id']}/secret")).json()["secret"] == made["secret"]


async def test_a_test_is_a_delivery_that_the_feed_does_not_tell(client: httpx.AsyncClient, house: House) -> None:
    made = await subscribe(client)
    answer = await did(client, made["id"], "test")
    assert (answer.status_code, answer.json()["event_type"]) == (202, "task.succeeded")
    assert (
        await client.get(answer.headers["location"].removeprefix("https://relay.example.org"))
    ).json() == answer.json()
    again = await did(client, made["id"], "test")
    assert (again.status_code, again.json()["code"], again.headers["retry-after"]) == (429, "too_soon", "6")
    house.clock.advance(6)
    assert (await did(client, made["id"], "test")).status_code == 202
    assert (await client.get("/v1/events")).json()["data"] == []
    assert (await client.get("/v1/events?order=desc")).json()["data"] == []
    event = (await client.get(f"/v1/events/{answer.json()['event']}")).json()
    assert event["test"] is True and event["data"]["object"] == "task"
    assert set(event["data"]) == set((await client.post("/v1/tasks", json=order())).json()) - {"evidence", "next"}


async def test_a_test_can_be_of_any_type(client: httpx.AsyncClient, house: House) -> None:
    made = await subscribe(client)
    for type in EventType:
        house.clock.advance(6)
        answer = await did(client, made["id"], "test", type=type.value)
        assert (answer.status_code, answer.json()["event_type"]) == (202, type.value)
        told = await client.get(f"/v1/events/{answer.json()['event']}")
        assert told.json()["test"] is True and faults(told.content) == []
    for wrong in ("task.*", "task.succeded", None, 5, ["task.failed"]):
        refused = await did(client, made["id"], "test", type=wrong)
        assert [fault["pointer"] for fault in refused.json()["errors"]] == ["/type"]


async def test_stats_are_of_the_last_day(client: httpx.AsyncClient, house: House) -> None:
    made = await subscribe(client)
    path = f"/v1/endpoints/{made['id']}/stats"
    empty = (await client.get(path)).json()
    assert (empty["attempts"], empty["success_rate"], empty["duration_ms"]) == (0, None, {"p50": None, "p95": None})
    task = (await client.post("/v1/tasks", json=order())).json()
    await house.succeeded(task["id"])
    [owed] = (await client.get("/v1/deliveries")).json()["data"]
    tried = [
        Attempt(
            delivery_id=owed["id"], number=n, at=house.clock(), duration_ms=n, status_code=None if n == 1 else 200,
            error_class="timeout" if n == 1 else None, response_head=None,
        )
        for n in range(1, 101)
    ]  # fmt: skip
    await house.context.database.write(lambda tx: outbox.note_attempts(tx, tried))
    stats = (await client.get(path)).json()
    assert (stats["attempts"], stats["succeeded"], stats["success_rate"]) == (100, 99, 0.99)
    assert stats["duration_ms"] == {"p50": 50, "p95": 95}
    assert (stats["failures"], stats["backlog"]) == ({"timeout": 1}, 1)
    assert stats["next_attempt_at"] == owed["next_attempt_at"]
    assert stats["oldest_pending_at"] == owed["created_at"]
    house.clock.advance(86_401)
    assert (await client.get(path)).json()["attempts"] == 0


def test_a_quantile_is_one_of_the_values() -> None:
    assert [quantile(list(range(1, 11)), share) for share in (0.0, 0.5, 0.95, 1.0)] == [1, 5, 10, 10]


async def test_what_was_missed_is_replayed_and_counted(client: httpx.AsyncClient, house: House) -> None:
    task = (await client.post("/v1/tasks", json=order())).json()
    await house.succeeded(task["id"])
    made = await subscribe(client)
    answer = await did(client, made["id"], "replay", which="missing", since="2020-01-01T00:00:00Z")
    assert (answer.status_code, answer.json()["count"], answer.json()["next_since"]) == (202, 1, None)
    [owed] = (await client.get("/v1/deliveries")).json()["data"]
    assert (owed["endpoint"], owed["event_type"]) == (made["id"], "task.succeeded")
    await run(house, "UPDATE deliveries SET status = 'exhausted', attempts = 10, due_at = NULL")
    answer = await did(client, made["id"], "replay", which="failed", since="2020-01-01T00:00:00Z")
    assert answer.json()["count"] == 1
    assert (await client.get(f"/v1/deliveries/{owed['id']}")).json()["status"] == "pending"


@pytest.mark.parametrize(
    ("body", "places"),
    [
        ({"which": "all", "since": "yesterday"}, {"/which", "/since"}),
        ({"which": "failed"}, {"/since"}),
        ({"which": "failed", "since": "2026-01-01T00:00:00Z", "until": 1}, {"/until"}),
    ],
)
async def test_a_bad_replay_names_each_fault(
    client: httpx.AsyncClient, body: dict[str, object], places: set[str]
) -> None:
    made = await subscribe(client)
    answer = await did(client, made["id"], "replay", **body)
    assert {fault["pointer"] for fault in answer.json()["errors"]} == places


@pytest.mark.parametrize("how", ["resume", "another URL", "the same URL"])
async def test_what_an_endpoint_asked_for_ends_with_its_owners_word(
    client: httpx.AsyncClient, house: House, how: str
) -> None:
    """A pause of a day, from a proxy in maintenance, say: who has mended that waits for nothing."""
    made = await subscribe(client)
    day = house.clock() + 86_400_000_000
    await run(
        house,
        "INSERT INTO lanes (kind, key, epoch, until, next_due_at, breaker, held_until)"  # noqa: S608
        f" VALUES ('endpoint', '{made['id']}', 1, 0, {day}, '{{}}', {day})",
    )
    house.rung.clear()
    if how == "resume":
        await did(client, made["id"], "resume")
    else:
        url = made["url"] if how == "the same URL" else "https://new.example.org/hook"
        assert (await client.patch(f"/v1/endpoints/{made['id']}", json={"url": url})).status_code == 200
    assert (LaneKind.ENDPOINT, made["id"]) in [key for key, _ in house.rung]
    kept = (day, "{}", day) if how == "the same URL" else (house.clock(), None, None)
    assert await run(house, "SELECT next_due_at, breaker, held_until FROM lanes WHERE kind = 'endpoint'") == [kept]
