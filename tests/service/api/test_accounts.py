from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
import orjson

from service.core.care import care_of
from service.core.holding import Hold, Holds
from service.core.times import iso
from service.pipeline.durations import Told
from storage import lanes
from storage.durations import Kind
from storage.records import LaneKind
from tests.service.api.house import House
from tests.service.core.schemas import faults

CLOUDSWAY = (LaneKind.ACCOUNT, "cloudsway")
BODY = {"provider": "cloudsway", "model": "kling-3.0-turbo", "input": {"prompt": "A boat"}}


async def get(client: httpx.AsyncClient, name: str = "cloudsway") -> dict[str, Any]:
    answer = await client.get(f"/v1/accounts/{name}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def order(client: httpx.AsyncClient, word: str, name: str = "cloudsway") -> httpx.Response:
    return await client.post(f"/v1/accounts/{name}/{word}")


async def hold(house: House, holds: Holds) -> None:
    dump = holds.dump()
    await house.context.database.write(lambda tx: lanes.order(tx, "cloudsway", care=None, holds=dump))


async def audited(house: House) -> list[tuple[str, str]]:
    rows = await house.context.database.read(
        lambda tx: tx.fetch("SELECT action, detail FROM audit WHERE action LIKE 'account%' ORDER BY id")
    )
    return [(str(action), str(detail)) for action, detail in rows]


async def test_an_account_shows_what_waits_and_runs_and_what_it_may_do(client: httpx.AsyncClient) -> None:
    await client.post("/v1/tasks", json=BODY)
    one = await get(client)
    assert (one["status"], one["enabled"], one["queued"], one["open_tasks"]) == ("active", True, 1, 0)
    assert (one["provider"], one["models"], one["rate"]) == ("cloudsway", ["kling-3.0-turbo"], 5.0)
    assert one["callbacks"]["pushes"] is True and one["callbacks"]["day"]["expected"] == 0
    assert one["breaker"] == {"state": "closed", "next_probe_at": None}
    assert one["last_error"] is None and one["durations"] == [] and one["next_due_at"]
    listed = (await client.get("/v1/accounts")).json()["data"]
    assert [each["name"] for each in listed] == ["cloudsway", "ulazai", "spare"]
    assert {**listed[0], "callbacks": None} == {**one, "callbacks": None}  # whose spans move on with the clock
    assert (listed[2]["enabled"], listed[2]["status"]) == (False, "disabled")
    assert (await get(client, "spare")) == listed[2]
    assert "secret-provider-key" not in (await client.get("/v1/accounts")).text


async def test_an_account_that_sends_no_pushes_has_no_figures_of_them(client: httpx.AsyncClient) -> None:
    callbacks = (await get(client, "ulazai"))["callbacks"]
    assert callbacks["pushes"] is False and callbacks["day"] is callbacks["week"] is None


async def test_what_was_learned_of_its_jobs_is_shown(client: httpx.AsyncClient, house: House) -> None:
    told = Told(kind=Kind("cloudsway", "kling-3.0-turbo", 5, "1080p"), jobs=7, p10=50.04, p50=66.0, p90=93.1)
    object.__setattr__(house.context, "learned", lambda name: [told] if name == "cloudsway" else [])
    [took] = (await get(client))["durations"]
    assert (took["model"], took["duration"], took["level"], took["jobs"]) == ("kling-3.0-turbo", 5, "1080p", 7)
    assert (took["p10"], took["p50"], took["p90"]) == (50.0, 66.0, 93.1)


async def test_pausing_and_resuming_is_durable_audited_rung_and_the_same_the_second_time(
    client: httpx.AsyncClient, house: House
) -> None:
    for _ in range(2):
        paused = (await order(client, "pause")).json()
        assert paused["status"] == "paused" and paused["paused"][0]["cause"] == "person"
    lane = await house.context.database.read(lambda tx: lanes.get(tx, *CLOUDSWAY))
    assert lane is not None and care_of(lane).paused_at is not None and lane.next_due_at is not None
    assert (CLOUDSWAY, house.clock()) in house.rung
    assert (await client.post("/v1/tasks", json=BODY)).status_code == 202, "tasks are taken in and wait"
    for _ in range(2):
        assert (await order(client, "resume")).json()["status"] == "active"
    named = '{"account":"cloudsway"}'
    assert await audited(house) == [("account.pause", named), ("account.resume", named)]


async def test_an_account_with_jobs_at_its_provider_drains_while_it_is_paused(
    client: httpx.AsyncClient, house: House
) -> None:
    made = (await client.post("/v1/tasks", json=BODY)).json()
    await house.submitting(made["id"])
    await order(client, "pause")
    one = await get(client)
    assert (one["status"], one["open_tasks"], one["paused"][0]["cause"]) == ("draining", 1, "person")


async def test_a_task_of_a_paused_account_says_that_a_person_must_resume_it(client: httpx.AsyncClient) -> None:
    made = (await client.post("/v1/tasks", json=BODY)).json()
    await order(client, "pause")
    coming = (await client.get(f"/v1/tasks/{made['id']}")).json()["next"]
    assert coming["at"] is None and "/v1/accounts/cloudsway/resume" in coming["reason"]
    at_once = (await client.post("/v1/tasks", json=BODY)).json()["next"]
    assert at_once["at"] is None and "/v1/accounts/cloudsway/resume" in at_once["reason"]


async def test_a_refused_key_is_a_pause_with_its_reason_and_a_person_can_lift_it(
    client: httpx.AsyncClient, house: House
) -> None:
    now = house.clock()
    refused = Hold(until=now + 300_000_000, since=now, times=1, reason="no key", refused_since=now)
    await hold(house, Holds(submits=refused))
    one = await get(client)
    assert one["status"] == "paused"
    assert one["paused"] == [
        {"cause": "credentials", "since": iso(now), "code": "credentials_refused", "reason": "no key"}
    ]
    assert one["held"]["submits"] == {"until": iso(now + 300_000_000), "reason": "no key"}
    house.clock.advance(1)
    resumed = (await order(client, "resume")).json()
    assert (resumed["status"], resumed["paused"], resumed["held"]["submits"]) == ("active", [], None)
    [shown, *_] = (await client.get("/v1/providers/cloudsway")).json()["accounts"]
    assert shown["health"]["refused_since"] is None


async def test_the_last_error_is_shown_after_it_is_over(client: httpx.AsyncClient, house: House) -> None:
    stored = orjson.loads(Holds(submits=Hold(times=1)).dump() or "")
    stored |= {"submits": {**stored["submits"], "times": 0}, "trouble": {"at": 7, "code": "x", "message": "m"}}
    await hold(house, Holds.load(orjson.dumps(stored).decode()))
    assert (await get(client))["last_error"] == {"at": iso(7), "code": "x", "message": "m"}


async def test_projects_that_named_account_events_are_told_of_a_pause(client: httpx.AsyncClient, house: House) -> None:
    made = await client.post("/v1/endpoints", json={"url": "https://10.1.0.1/hook", "events": ["account.*"]})
    assert made.status_code == 201, made.text
    await order(client, "pause")
    [event] = (await client.get("/v1/events")).json()["data"]
    assert (event["type"], event["data"]["name"], event["data"]["status"]) == ("account.paused", "cloudsway", "paused")
    assert faults(orjson.dumps(event)) == []


async def test_an_account_that_is_not_there_is_told_which_there_are(client: httpx.AsyncClient) -> None:
    for answer in (await client.get("/v1/accounts/cloudswai"), await order(client, "pause", "cloudswai")):
        assert answer.status_code == 404 and "Did you mean cloudsway?" in answer.json()["detail"]
    off = await order(client, "check", "spare")
    assert (off.status_code, off.json()["code"]) == (409, "account_disabled")
    assert "TASKRELAY_ACCOUNTS__SPARE__ENABLED" in off.json()["detail"]


async def test_a_check_that_reaches_nobody_says_so_and_takes_its_share_of_the_rate(
    client: httpx.AsyncClient, house: House
) -> None:
    found = (await order(client, "check")).json()  # its address is inside a network that the policy denies
    assert (found["object"], found["account"], found["reachable"]) == ("account_check", "cloudsway", False)
    assert (found["credentials"], found["status_code"], found["clock_difference_seconds"]) == ("unknown", None, None)
    assert "secret-provider-key" not in str(found)
    answers = [await order(client, "check") for _ in range(5)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused and re.fullmatch(r"[1-9][0-9]*", refused[0].headers["retry-after"])
    assert refused[0].json()["code"] == "too_soon"


async def test_reading_needs_read_and_ordering_needs_admin(
    house: House, calling: Callable[[str], httpx.AsyncClient]
) -> None:
    async with calling(await house.key_with("read")) as reader:
        assert (await reader.get("/v1/accounts")).status_code == 200
        for word in ("pause", "resume", "check"):
            assert (await order(reader, word)).status_code == 403
    async with calling(await house.key_with("tasks", "endpoints")) as other:
        assert (await other.get("/v1/accounts/cloudsway")).status_code == 403
