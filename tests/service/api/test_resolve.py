"""A person settles purchases whose fate is unknown, in exactly three ways, and every word is told and audited."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import orjson
import pytest

from service.api import resolve
from service.api.app import Api
from service.core.observation import Claim, Observation, Reading, Source
from service.core.times import SECOND
from storage import audit, tasks
from storage.database import Connection
from storage.records import AuditEntry, OnAmbiguous, Output, TaskStatus
from tests.service.api.house import VIDEO, House, order, ulazai

ADOPT = {"action": "adopt", "provider_task_id": "job-7"}
RESUBMIT = {"action": "resubmit", "possible_double_charge": True}
ABANDON = {"action": "abandon"}
ABSENT = "task_" + "0" * 26


async def doubtful(client: httpx.AsyncClient, house: House, body: dict[str, object] | None = None) -> str:
    """A task whose purchase got no clear answer, its submission long over."""
    task_id = str((await client.post("/v1/tasks", json=body or ulazai())).json()["id"])
    await lose(house, task_id)
    house.clock.advance(60)
    return task_id


async def lose(house: House, task_id: str) -> None:
    submission = await house.submitting(task_id)
    reading = Reading(claim=Claim.AMBIGUOUS, detail="the connection was reset")
    await hear(house, task_id, Source.SUBMIT, reading, submission)


async def hear(house: House, task_id: str, source: Source, reading: Reading, submission: str | None = None) -> None:
    await house.context.recorder.record(
        Observation(task_id=task_id, source=source, reading=reading, at=house.clock(), submission_id=submission)
    )


async def say(client: httpx.AsyncClient, task_id: str, body: object) -> httpx.Response:
    return await client.post(f"/v1/tasks/{task_id}/resolve", json=body)


async def audited(house: House, task_id: str) -> list[AuditEntry]:
    return await house.context.database.read(lambda tx: audit.of_task(tx, task_id))


async def all_audited(house: House) -> int:
    async def unit(tx: Connection) -> int:
        [(count,)] = await tx.fetch("SELECT count(*) FROM audit WHERE action <> 'key.create'")
        return int(str(count))

    return await house.context.database.read(unit)


async def told(client: httpx.AsyncClient, task_id: str) -> list[dict[str, Any]]:
    timeline: list[dict[str, Any]] = (await client.get(f"/v1/tasks/{task_id}/timeline")).json()["data"]
    return timeline


async def test_a_job_that_is_named_is_the_tasks_and_asked_after_at_once(
    client: httpx.AsyncClient, house: House
) -> None:
    task_id = await doubtful(client, house)
    answer = await say(client, task_id, ADOPT)
    task = answer.json()
    assert (answer.status_code, task["status"], task["provider_task_id"]) == (200, "processing", "job-7")
    assert task["next"]["action"] == "poll"
    assert "job-7 was named by hand as its job" in task["next"]["reason"]
    assert task == (await client.get(f"/v1/tasks/{task_id}")).json()


async def test_what_the_provider_shows_then_is_told_as_ever(client: httpx.AsyncClient, house: House) -> None:
    task_id = await doubtful(client, house)
    await say(client, task_id, ADOPT)
    found = Reading(claim=Claim.SUCCEEDED, provider_task_id="job-7", outputs=(Output(url=VIDEO),))
    await hear(house, task_id, Source.POLL, found)
    types = [event["type"] for event in (await client.get(f"/v1/events?task={task_id}")).json()["data"]]
    assert types == ["task.unconfirmed", "task.submitted", "task.succeeded"]


async def test_a_job_that_is_not_there_is_taken_off_and_the_timeline_says_so(
    client: httpx.AsyncClient, house: House
) -> None:
    task_id = await doubtful(client, house)
    await say(client, task_id, ADOPT)
    await hear(house, task_id, Source.POLL, Reading(claim=Claim.ABSENT))
    task = (await client.get(f"/v1/tasks/{task_id}")).json()
    assert (task["status"], task["provider_task_id"], task["charge"]) == ("unconfirmed", None, "possible")
    assert (await told(client, task_id))[-1]["message"].startswith("job-7, named by hand as its job, is not.")
    assert (await say(client, task_id, {**ADOPT, "provider_task_id": "job-8"})).status_code == 200


async def test_a_permission_is_shown_as_what_comes_next(client: httpx.AsyncClient, house: House) -> None:
    task_id = await doubtful(client, house)
    task = (await say(client, task_id, RESUBMIT)).json()
    assert (task["status"], task["next"]["action"]) == ("unconfirmed", "submit")
    assert "second charge was accepted by hand" in task["next"]["reason"]


async def test_what_is_given_up_ends_softly(client: httpx.AsyncClient, house: House) -> None:
    task_id = await doubtful(client, house)
    task = (await say(client, task_id, ABANDON)).json()
    assert (task["status"], task["error"]["code"]) == ("failed", "submit_abandoned")
    assert (task["final"], task["charge"], task["links"]["resolve"] is not None) == (False, "possible", True)


async def test_after_a_soft_end_the_job_can_still_be_named(client: httpx.AsyncClient, house: House) -> None:
    task_id = await doubtful(client, house)
    await say(client, task_id, ABANDON)
    task = (await say(client, task_id, ADOPT)).json()
    assert (task["status"], task["provider_task_id"]) == ("failed", "job-7")
    assert task["next"]["action"] == "poll"


@pytest.mark.parametrize(
    ("body", "action", "detail"),
    [
        (ADOPT, "adopt", {"provider_task_id": "job-7"}),
        (RESUBMIT, "resubmit", {"possible_double_charge": True}),
        (ABANDON, "abandon", {}),
    ],
    ids=["adopt", "resubmit", "abandon"],
)
async def test_every_word_is_audited_and_told_with_who_said_it_and_never_with_the_key(
    client: httpx.AsyncClient, house: House, body: object, action: str, detail: object
) -> None:
    task_id = await doubtful(client, house)
    await say(client, task_id, body)
    now, [entry] = house.clock(), await audited(house, task_id)
    me = (await client.get("/v1/whoami")).json()
    assert (entry.action, orjson.loads(entry.detail), entry.key_id) == (action, detail, me["id"])
    assert (entry.project_id, entry.at) == (house.project_id, now)
    last = (await told(client, task_id))[-1]
    assert (last["source"], last["detail"]["key"], last["detail"]["by"]) == ("operator", me["id"], me["name"])
    assert f'API key "{me["name"]}" ({me["id"]})' in last["message"]
    assert house.key not in (await client.get(f"/v1/tasks/{task_id}/timeline")).text


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ([], {"", "/action"}),
        ({}, {"/action"}),
        ({"action": "buy"}, {"/action"}),
        ({"action": ["adopt"]}, {"/action"}),
        ({"action": "adopt"}, {"/provider_task_id"}),
        ({"action": "adopt", "provider_task_id": 7}, {"/provider_task_id"}),
        ({"action": "adopt", "provider_task_id": ""}, {"/provider_task_id"}),
        ({"action": "adopt", "provider_task_id": "x" * 129}, {"/provider_task_id"}),
        ({"action": "adopt", "provider_task_id": "job\n7"}, {"/provider_task_id"}),
        ({"action": "adopt", "provider_task_id": "../7"}, {"/provider_task_id"}),
        ({**ADOPT, "possible_double_charge": True}, {"/possible_double_charge"}),
        ({"action": "resubmit"}, {"/possible_double_charge"}),
        ({"action": "resubmit", "possible_double_charge": False}, {"/possible_double_charge"}),
        ({"action": "resubmit", "possible_double_charge": "true"}, {"/possible_double_charge"}),
        ({"action": "resubmit", "possible_double_charge": 1}, {"/possible_double_charge"}),
        ({**RESUBMIT, "provider_task_id": "job-7"}, {"/provider_task_id"}),
        ({**ABANDON, "possible_double_charge": True}, {"/possible_double_charge"}),
        ({**ABANDON, "provider_task_id": None}, {"/provider_task_id"}),
        (
            {"action": "resubmit", "why": "x", "possible_doubel_charge": True},
            {"/why", "/possible_doubel_charge", "/possible_double_charge"},
        ),
    ],
)
async def test_anything_but_the_three_forms_is_refused_by_pointer_and_changes_nothing(
    client: httpx.AsyncClient, house: House, body: object, pointers: set[str]
) -> None:
    task_id = await doubtful(client, house)
    before = (await client.get(f"/v1/tasks/{task_id}")).json()
    answer = await say(client, task_id, body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert {fault["pointer"] for fault in answer.json()["errors"]} == pointers
    assert (await client.get(f"/v1/tasks/{task_id}")).json() == before
    assert await all_audited(house) == 0


async def test_where_nothing_is_in_doubt_it_is_a_conflict_that_says_what_can_be_done(
    client: httpx.AsyncClient, house: House
) -> None:
    queued = str((await client.post("/v1/tasks", json=ulazai())).json()["id"])
    buying = str((await client.post("/v1/tasks", json=ulazai())).json()["id"])
    await house.submitting(buying)
    bound = str((await client.post("/v1/tasks", json=order())).json()["id"])
    await house.bought(bound)
    done = str((await client.post("/v1/tasks", json=order())).json()["id"])
    await house.succeeded(done, "job-2")
    said = {queued: "can be canceled", buying: "being bought", bound: "has its job, job-1", done: "ended for good"}
    for task_id, text in said.items():
        for body in (ADOPT, RESUBMIT, ABANDON):
            answer = await say(client, task_id, body)
            assert (answer.status_code, answer.json()["code"]) == (409, "cannot_resolve")
            assert text in answer.json()["detail"]
            assert answer.headers["x-should-retry"] == "false"
    assert await all_audited(house) == 0


async def test_c15_a_job_of_another_task_is_a_conflict_and_nothing_changes(
    client: httpx.AsyncClient, house: House
) -> None:
    owner = str((await client.post("/v1/tasks", json=ulazai())).json()["id"])
    await house.bought(owner, "job-7")
    task_id = await doubtful(client, house)
    before = await house.sizes()
    answer = await say(client, task_id, ADOPT)
    assert (answer.status_code, answer.json()["code"]) == (409, "job_taken")
    assert owner in answer.json()["detail"]
    assert await house.sizes() == before
    assert (await client.get(f"/v1/tasks/{task_id}")).json()["status"] == "unconfirmed"
    assert await all_audited(house) == 0


async def test_c15_a_task_of_another_project_is_not_named(client: httpx.AsyncClient, house: House, app: Api) -> None:
    owner = str((await client.post("/v1/tasks", json=ulazai())).json()["id"])
    await house.bought(owner, "job-7")
    async with house.client(app, house.keys["stranger"]) as stranger:
        task_id = await doubtful(stranger, house)
        answer = await say(stranger, task_id, ADOPT)
    assert (answer.status_code, answer.json()["code"]) == (409, "job_taken")
    assert owner not in answer.text


async def test_another_projects_task_is_not_there(client: httpx.AsyncClient, house: House, app: Api) -> None:
    task_id = await doubtful(client, house)
    async with house.client(app, house.keys["stranger"]) as stranger:
        for body in (ADOPT, RESUBMIT, ABANDON):
            answer, nowhere = await say(stranger, task_id, body), await say(stranger, ABSENT, body)
            assert (answer.status_code, answer.json()["detail"]) == (404, nowhere.json()["detail"])
        many = await stranger.post("/v1/tasks/resolve", json={**ABANDON, "filter": {"status": "unconfirmed"}})
    assert many.json()["count"] == 0
    assert (await client.get(f"/v1/tasks/{task_id}")).json()["status"] == "unconfirmed"


async def test_a_key_that_only_reads_settles_nothing(client: httpx.AsyncClient, house: House, app: Api) -> None:
    task_id = await doubtful(client, house)
    async with house.client(app, await house.key_with("read", "endpoints")) as reader:
        for path in (f"/v1/tasks/{task_id}/resolve", "/v1/tasks/resolve"):
            assert (await reader.post(path, json=ABANDON)).json()["code"] == "missing_scope"


async def test_the_same_adoption_again_is_answered_again_and_another_is_not(
    client: httpx.AsyncClient, house: House
) -> None:
    """After a lost answer the client asks again: the job is the task's, which is what it wanted."""
    task_id = await doubtful(client, house)
    first, again = await say(client, task_id, ADOPT), await say(client, task_id, ADOPT)
    assert (first.status_code, again.status_code) == (200, 200)
    other = await say(client, task_id, {**ADOPT, "provider_task_id": "job-8"})
    assert other.json()["code"] == "cannot_resolve"
    assert len(await audited(house, task_id)) == 1


@pytest.mark.parametrize(
    ("body", "other"),
    [(ADOPT, {**ADOPT, "provider_task_id": "job-8"}), (ABANDON, ABANDON), (RESUBMIT, RESUBMIT)],
    ids=["adopt", "abandon", "resubmit"],
)
async def test_of_two_words_in_the_same_moment_one_wins(
    client: httpx.AsyncClient, house: House, body: object, other: object
) -> None:
    task_id = await doubtful(client, house)
    answers = await asyncio.gather(say(client, task_id, body), say(client, task_id, other))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert len(await audited(house, task_id)) == 1


async def test_two_permissions_in_the_same_moment_are_one(client: httpx.AsyncClient, house: House) -> None:
    task_id = await doubtful(client, house)
    answers = await asyncio.gather(*(say(client, task_id, RESUBMIT) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    assert len(await audited(house, task_id)) == 1
    [refused] = {answer.json()["detail"] for answer in answers if answer.status_code == 409}
    assert "may be sent once more already" in refused


async def test_whichever_of_all_three_comes_first_what_is_left_is_one_of_them(
    client: httpx.AsyncClient, house: House
) -> None:
    for _ in range(5):
        task_id = await doubtful(client, house)
        await asyncio.gather(*(say(client, task_id, body) for body in (ABANDON, RESUBMIT, ADOPT)))
        [task] = (await house.context.database.read(lambda tx: tasks.read(tx, [task_id]))).values()  # noqa: B023
        assert task.permitted_at is None  # used up by the job or the end that came
        assert task.provider_task_id is not None or task.status is TaskStatus.FAILED


async def test_one_job_adopted_by_two_tasks_in_the_same_moment_is_one_tasks(
    client: httpx.AsyncClient, house: House
) -> None:
    both = [await doubtful(client, house), await doubtful(client, house)]
    answers = await asyncio.gather(*(say(client, task_id, ADOPT) for task_id in both))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert {answer.json().get("code") for answer in answers} == {None, "job_taken"}


async def test_a_tasks_policy_is_its_projects_when_it_was_made(client: httpx.AsyncClient, house: House) -> None:
    before = await doubtful(client, house)
    accepted = {"on_ambiguous": "resubmit", "possible_double_charge": True}
    await client.patch("/v1/projects/current", json=accepted)
    after = await doubtful(client, house)
    await client.patch("/v1/projects/current", json={"on_ambiguous": "hold"})
    held, sent = [(await client.get(f"/v1/tasks/{task_id}")).json()["next"] for task_id in (before, after)]
    assert (held["action"], sent["action"]) == ("hold", "submit")
    assert f"/v1/tasks/{before}/resolve" in held["reason"]
    assert "accepts a possible second charge" in (await told(client, after))[0]["message"]


# In bulk


async def bulk(client: httpx.AsyncClient, body: dict[str, object], query: str = "") -> httpx.Response:
    return await client.post(f"/v1/tasks/resolve{query}", json=body)


async def test_a_filter_settles_what_it_finds_and_says_how_many(client: httpx.AsyncClient, house: House) -> None:
    slow = [await doubtful(client, house) for _ in range(3)]
    other = await doubtful(client, house, order())
    answer = await bulk(client, {**ABANDON, "filter": {"provider": "ulazai", "status": "unconfirmed"}})
    assert answer.status_code == 200
    assert answer.json() == {
        "object": "resolution", "action": "abandon", "count": 3, "has_more": False, "next": None,
    }  # fmt: skip
    assert [(await client.get(f"/v1/tasks/{task_id}")).json()["status"] for task_id in slow] == ["failed"] * 3
    assert (await client.get(f"/v1/tasks/{other}")).json()["status"] == "unconfirmed"
    assert [len(await audited(house, task_id)) for task_id in slow] == [1, 1, 1]


async def test_what_does_not_count_is_not_counted(client: httpx.AsyncClient, house: House) -> None:
    first = await doubtful(client, house)
    await say(client, first, RESUBMIT)
    await doubtful(client, house)
    wanted = {"filter": {"account": "ulazai"}}
    assert (await bulk(client, {**RESUBMIT, **wanted})).json()["count"] == 1
    assert (await bulk(client, {**RESUBMIT, **wanted})).json()["count"] == 0
    assert (await bulk(client, {**ABANDON, "filter": {"created_before": "2000-01-01T00:00:00Z"}})).json()["count"] == 0


async def test_many_are_settled_in_bounded_requests(
    client: httpx.AsyncClient, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolve, "BATCH", 2)
    monkeypatch.setattr(resolve, "MOST", 4)
    made = [await doubtful(client, house) for _ in range(5)]
    body = {**RESUBMIT, "filter": {"status": "unconfirmed"}}
    first = (await bulk(client, body)).json()
    assert (first["count"], first["has_more"]) == (4, True)
    second = (await bulk(client, body, f"?after={first['next']}")).json()
    assert (second["count"], second["has_more"], second["next"]) == (1, False, None)
    assert [len(await audited(house, task_id)) for task_id in made] == [1] * 5


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({**ABANDON}, {"/filter"}),
        ({**ABANDON, "filter": {}}, {"/filter"}),
        ({**ABANDON, "filter": []}, {"/filter"}),
        ({**ABANDON, "filter": {"status": "queued"}}, {"/filter/status"}),
        ({**ABANDON, "filter": {"provider": 1, "acount": "x"}}, {"/filter/provider", "/filter/acount"}),
        ({**ABANDON, "filter": {"created_after": "yesterday"}}, {"/filter/created_after"}),
        ({"action": "resubmit", "filter": {"account": "x"}}, {"/possible_double_charge"}),
        ({**ADOPT, "filter": {"account": "x"}}, {"/action", "/provider_task_id"}),
    ],
)
async def test_in_bulk_the_same_care_is_taken(
    client: httpx.AsyncClient, house: House, body: dict[str, object], pointers: set[str]
) -> None:
    await doubtful(client, house)
    answer = await bulk(client, body)
    assert answer.status_code == 422
    assert {fault["pointer"] for fault in answer.json()["errors"]} == pointers
    assert await all_audited(house) == 0


async def test_a_purchase_is_not_sent_again_before_its_submission_is_over(
    client: httpx.AsyncClient, house: House
) -> None:
    task_id = str((await client.post("/v1/tasks", json=ulazai())).json()["id"])
    await lose(house, task_id)
    submitted_by = house.clock() + 30 * SECOND
    task = (await say(client, task_id, RESUBMIT)).json()
    assert task["next"]["action"] == "submit"
    seen = await house.context.recorder.record(
        Observation(
            task_id=task_id, source=Source.SUBMIT, reading=Reading(claim=Claim.INTENT), at=house.clock(),
            submission_id="sub_2", submission_deadline_at=submitted_by,
        )
    )  # fmt: skip
    assert seen.outcome == "ignored"
    assert seen.task is not None
    assert seen.task.on_ambiguous is OnAmbiguous.HOLD
