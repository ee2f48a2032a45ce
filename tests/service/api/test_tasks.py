from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest

from service.api.app import create_app
from service.core import fallback
from service.core.observation import Claim, Observation, Reading, Source
from service.pipeline.ledger import Recorded
from storage import callbacks, endpoints, lanes, tasks
from storage.records import Failure, FailureCode, LaneKind, TaskStatus
from tests.service.api.house import House, account, order, ulazai, until

Calling = Callable[[str], httpx.AsyncClient]
BASE = "https://relay.example.org"


async def create(client: httpx.AsyncClient, **more: object) -> dict[str, object]:
    answer = await client.post("/v1/tasks", json=order(**more))
    assert answer.status_code == 202, answer.text
    task: dict[str, object] = answer.json()
    return task


async def test_creating_stores_task_timeline_and_arrival_and_rings_the_lane(
    client: httpx.AsyncClient, house: House
) -> None:
    answer = await client.post("/v1/tasks", json=order(reference="order-1", metadata={"order": "1"}))
    assert answer.status_code == 202
    task = answer.json()
    assert answer.headers["location"] == f"{BASE}/v1/tasks/{task['id']}"
    assert (task["status"], task["final"], task["charge"]) == ("queued", False, "none")
    assert task["input"]["duration"] == 5 and task["input"]["aspect_ratio"] == "16:9"  # the effective input
    assert task["next"]["action"] == "submit"
    assert task["links"]["cancel"] == f"{BASE}/v1/tasks/{task['id']}/cancel"
    database = house.context.database
    stored = (await database.read(lambda tx: tasks.read(tx, [task["id"]])))[task["id"]]
    assert stored.due_at == stored.created_at and stored.cost_estimated is not None
    [entry] = await database.read(lambda tx: callbacks.timeline_of(tx, task["id"]))
    assert entry.kind == "created"
    lane = await database.read(lambda tx: lanes.get(tx, LaneKind.ACCOUNT, "cloudsway"))
    assert lane is not None and lane.next_due_at == stored.created_at
    assert house.rung == [((LaneKind.ACCOUNT, "cloudsway"), stored.created_at)]


async def test_a_reference_in_use_is_refused_with_the_task_that_holds_it(
    client: httpx.AsyncClient, house: House
) -> None:
    first = await create(client, reference="order-8841")
    before = await house.sizes()
    answer = await client.post("/v1/tasks", json=order(reference="order-8841"))
    assert answer.status_code == 409
    problem = answer.json()
    assert (problem["code"], problem["existing"]) == ("reference_taken", first["id"])
    assert problem["detail"] == f"order-8841 belongs to {first['id']} (queued). GET /v1/tasks/{first['id']}"
    assert answer.headers["x-should-retry"] == "false"
    assert await house.sizes() == before


async def test_of_many_equal_references_at_once_one_wins(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(client.post("/v1/tasks", json=order(reference="once")) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [202, *[409] * 7]
    [winner] = [answer.json()["id"] for answer in answers if answer.status_code == 202]
    assert {answer.json()["existing"] for answer in answers if answer.status_code == 409} == {winner}


async def test_a_reference_is_free_again_after_a_failure_and_held_after_a_success(
    client: httpx.AsyncClient, house: House
) -> None:
    first = await create(client, reference="again")
    await house.failed(str(first["id"]))
    second = await create(client, reference="again")
    await house.succeeded(str(second["id"]), "job-2")
    assert (await client.post("/v1/tasks", json=order(reference="again"))).status_code == 409


async def test_urls_of_one_origin_share_one_hidden_endpoint(client: httpx.AsyncClient, house: House) -> None:
    one = await create(client, webhook_url="https://hooks.example.com/a?run=1")
    two = await create(client, webhook_url="https://hooks.example.com/b")
    other = await create(client, webhook_url="https://hooks.example.org/a")
    stored = await house.context.database.read(
        lambda tx: tasks.read(tx, [str(one["id"]), str(two["id"]), str(other["id"])])
    )
    ids = [stored[str(task["id"])].webhook_endpoint_id for task in (one, two, other)]
    assert ids[0] == ids[1] != ids[2]
    hidden = await house.context.database.read(lambda tx: endpoints.by_id(tx, str(ids[0])))
    assert hidden is not None and hidden.hidden and hidden.url == "https://hooks.example.com"
    assert (await client.get("/v1/endpoints")).json()["data"] == []
    assert (await client.get(f"/v1/endpoints/{ids[0]}")).status_code == 404


BAD_BODIES: list[tuple[str, dict[str, object], dict[str, str]]] = [
    ("unknown provider", order(provider="klingon"), {"/provider": "There is no provider"}),
    ("unknown model", order(model="kling-3.0"), {"/model": 'cloudsway has no "kling-3.0". It has kling-3.0-turbo'}),
    ("unknown field", order(callback_url="https://x.example/"), {"/callback_url": 'There is no "callback_url"'}),
    (
        "unknown input",
        order(input={"prompt": "a", "external_task_id": "1"}),
        {"/input/external_task_id": "no input word"},
    ),
    (
        "fallbacks",
        order(
            input={"prompt": "a", "duration": 5, "image": "https://i.example.com/a.png", "watermark": True},
            fallbacks=[
                {"provider": "ulazai", "model": "kling-3.0", "provider_options": {"price": 1}},
                {"provider": "klingon", "model": "x"},
                {"account": "spare", "model": "kling-3.0"},
                {"provider": "cloudsway", "model": "kling-3.0-turbo"},
            ],
        ),
        {
            "/fallbacks/0/input/watermark": "ulazai/kling-3.0 has no watermark",
            "/fallbacks/0/provider_options/price": "takes no provider option",
            "/fallbacks/1/provider": "There is no provider",
            "/fallbacks/2/account": "ACCOUNTS__SPARE__ENABLED=true",
            "/fallbacks/2/input/watermark": "has no watermark",
            "/fallbacks/3": "asks the same account for the same again",
        },
    ),
    (
        "six fallbacks",
        order(fallbacks=[{"provider": "ulazai", "model": "kling-3.0"}] * 6),
        {"/fallbacks": "more than 5"},
    ),
    ("long prompt", ulazai(input={"prompt": "x" * 2501}), {"/input/prompt": "at most 2500 characters here, not 2501"}),
    (
        "ratio beside a frame",
        ulazai(input={"prompt": "a", "image": "https://i.example.com/a.png", "aspect_ratio": "16:9"}),
        {"/input/aspect_ratio": "takes none together with start or end images"},
    ),
    ("too short", order(input={"prompt": "a", "duration": 2}), {"/input/duration": "not 2"}),
    ("too long", ulazai(input={"prompt": "a", "duration": 16}), {"/input/duration": "not 16"}),
    ("NUL", order(input={"prompt": "a\0b"}), {"/input/prompt": "U+0000"}),
    ("webhook at home", order(webhook_url="http://localhost:3000"), {"/webhook_url": "TASKRELAY_EGRESS__ALLOW"}),
    ("webhook to ourselves", order(webhook_url=f"{BASE}/x"), {"/webhook_url": "this service itself"}),
    ("switched off", {**ulazai(account="spare"), "provider": None}, {"/account": "ACCOUNTS__SPARE__ENABLED=true"}),
    ("no such account", {**order(account="nope"), "provider": None}, {"/account": 'There is no account "nope"'}),
    (
        "several at once",
        order(model="nope", webhook_url="https://10.9.9.9/", provider="cloudsway"),
        {"/model": "has no", "/webhook_url": "10.9.9.9"},
    ),
]


@pytest.mark.parametrize(("body", "faults"), [case[1:] for case in BAD_BODIES], ids=[case[0] for case in BAD_BODIES])
async def test_a_bad_request_is_refused_naming_each_fault_and_nothing_is_stored(
    client: httpx.AsyncClient, house: House, body: dict[str, object], faults: dict[str, str]
) -> None:
    before = await house.sizes()
    answer = await client.post("/v1/tasks", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    told = {fault["pointer"]: fault["detail"] for fault in problem["errors"]}
    assert set(told) == set(faults)
    for place, part in faults.items():
        assert part in told[place]
        assert part in problem["error"]["message"]
    assert await house.sizes() == before and house.rung == []


@pytest.mark.parametrize("query", ["dryrun=true", "dry_run=yes", "dry_run="])
async def test_a_misspelt_dry_run_is_refused_since_ignoring_it_would_buy(
    client: httpx.AsyncClient, house: House, query: str
) -> None:
    answer = await client.post(f"/v1/tasks?{query}", json=order())
    assert answer.status_code == 422 and answer.json()["errors"][0]["pointer"].startswith("/dry")
    assert (await house.sizes())["tasks"] == 0


async def test_a_dry_run_shows_the_request_and_the_cost_and_does_nothing(
    client: httpx.AsyncClient, house: House
) -> None:
    before = await house.sizes()
    body = order(reference="dry", fallbacks=[{"provider": "ulazai", "model": "kling-3.0"}])
    answer = await client.post("/v1/tasks?dry_run=true", json=body)
    assert answer.status_code == 200
    told = answer.json()
    assert told["request"]["method"] == "POST"
    assert told["request"]["url"] == (
        "https://provider.example/v1/ai/tenant-1/kling/videos/text-to-video/kling-3.0-turbo"
    )
    assert told["request"]["headers"]["Authorization"] == "Bearer ****"
    assert told["request"]["body"] == {
        "prompt": "A paper boat drifts down a gutter",
        "settings": {"resolution": "720p", "aspect_ratio": "16:9", "duration": 5},
        "options": {
            "external_task_id": "task_" + "0" * 26,
            "watermark_info": {"enabled": False},
            "callback_url": f"{BASE}/callbacks/cloudsway/****",
        },
    }
    money = {"estimated": "0.04", "charged": None, "currency": "USD"}
    assert told["cost"] == {"unit": "unit", "estimated": "4", "charged": None, "money": money}
    [other] = told["fallbacks"]
    assert (other["account"], other["cost"]["estimated"]) == ("ulazai", "100")
    assert other["request"]["body"]["durationSeconds"] == 5
    assert await house.sizes() == before and house.rung == []
    assert "secret-provider-key" not in answer.text


async def test_a_dry_run_is_judged_like_the_real_thing(client: httpx.AsyncClient, house: House) -> None:
    await create(client, reference="held")
    for body, status in ((order(input={"prompt": ""}), 422), (order(reference="held"), 409)):
        real, dry = await client.post("/v1/tasks", json=body), await client.post("/v1/tasks?dry_run=true", json=body)
        assert (real.status_code, dry.status_code) == (status, status)
        assert {**real.json(), "request_id": ""} == {**dry.json(), "request_id": ""}
    assert (await client.post("/v1/tasks?dry_run=false", json=order())).status_code == 202


async def test_fallbacks_are_stored_ready_to_send_and_stand_on_the_timeline(
    client: httpx.AsyncClient, house: House
) -> None:
    made = await create(
        client, fallbacks=[{"provider": "ulazai", "model": "kling-3.0", "provider_options": {"multiShots": True}}]
    )
    stored = (await house.context.database.read(lambda tx: tasks.read(tx, [str(made["id"])])))[str(made["id"])]
    [waiting] = fallback.load(stored.fallbacks)
    assert (waiting.account, waiting.cost_unit, waiting.cost_estimated, waiting.unit_price) == (
        "ulazai",
        "credit",
        "100",
        "0.01 USD",
    )
    assert '"mode":"std"' in waiting.input and waiting.provider_options == '{"multiShots":true}'
    story = (await client.get(f"/v1/tasks/{made['id']}/timeline")).json()
    assert story["data"][0]["detail"]["fallbacks"] == [
        {"provider": "ulazai", "account": "ulazai", "model": "kling-3.0"}
    ]


async def test_a_task_that_was_handed_on_tells_each_entry_of_whoever_had_it(
    client: httpx.AsyncClient, house: House
) -> None:
    made = await create(client, reference="r", fallbacks=[{"provider": "ulazai", "model": "kling-3.0"}])
    submission = await house.submitting(str(made["id"]))
    failure = Failure(code=FailureCode.CONTENT_REJECTED, message="their filter")
    await house.context.recorder.record(
        Observation(
            task_id=str(made["id"]), source=Source.SUBMIT, reading=Reading(claim=Claim.REFUSED, failure=failure),
            at=house.clock(), submission_id=submission, account="cloudsway",
        )
    )  # fmt: skip
    await house.submitting(str(made["id"]))
    seen = (await client.get(f"/v1/tasks/{made['id']}")).json()
    assert (seen["status"], seen["account"], seen["provider"], seen["model"]) == (
        "submitting",
        "ulazai",
        "ulazai",
        "kling-3.0",
    )
    assert (seen["cost"]["unit"], seen["cost"]["estimated"], seen["reference"]) == ("credit", "100", "r")
    assert [one["account"] for one in seen["evidence"]] == ["cloudsway", "ulazai"]
    told = [one["message"] for one in (await client.get(f"/v1/tasks/{made['id']}/timeline")).json()["data"]]
    assert told[1:] == [
        "Submission 1 to cloudsway is on disk; nothing is bought before this.",
        "cloudsway refused it. Nothing was bought. It goes on to ulazai/kling-3.0, account ulazai. (their filter)",
        "Submission 2 to ulazai is on disk; nothing is bought before this.",
    ]


async def test_a_list_is_newest_first_and_pages_without_gap_or_repeat(client: httpx.AsyncClient) -> None:
    made = [str((await create(client))["id"]) for _ in range(5)]
    seen: list[str] = []
    after: dict[str, str] = {}
    for more in (True, True, False):
        answer = (await client.get("/v1/tasks", params={"limit": "2", **after})).json()
        assert answer["object"] == "list" and answer["has_more"] is more
        seen += [task["id"] for task in answer["data"]]
        after = {"after": answer["next"]} if answer["next"] else {}
    assert seen == made[::-1]


async def test_a_list_is_filtered_by_status_account_reference_metadata_and_time(
    client: httpx.AsyncClient, house: House
) -> None:
    first = await create(client, reference="a", metadata={"k": "1", 'odd"key': "x"})
    house.clock.advance(10)
    second = await create(client, reference="b", metadata={"k": "1", "l": "2"})
    third = (await client.post("/v1/tasks", json=ulazai(metadata={"k": "2"}))).json()
    await house.bought(str(second["id"]))

    async def found(**filters: object) -> list[str]:
        params = {name: str(value) for name, value in filters.items()}
        answer = await client.get("/v1/tasks", params=params)
        assert answer.status_code == 200, answer.text
        return [task["id"] for task in answer.json()["data"]]

    assert await found(status="processing") == [second["id"]]
    assert await found(provider="ulazai") == [third["id"]]
    assert await found(account="cloudsway") == [second["id"], first["id"]]
    assert await found(reference="a") == [first["id"]]
    assert await found(**{"metadata.k": "1"}) == [second["id"], first["id"]]
    assert await found(**{"metadata.k": "1", "metadata.l": "2"}) == [second["id"]]
    assert await found(**{'metadata.odd"key': "x"}) == [first["id"]]
    assert await found(created_after=second["created_at"]) == [third["id"]]
    assert await found(created_before=second["created_at"]) == [first["id"]]


async def test_a_task_shows_its_evidence_and_what_comes_next(client: httpx.AsyncClient, house: House) -> None:
    task = await create(client)
    await house.bought(str(task["id"]), "901930004609634393")
    answer = await client.get(f"/v1/tasks/{task['id']}")
    shown = answer.json()
    assert shown["status"] == "processing" and shown["provider_task_id"] == "901930004609634393"
    [evidence] = shown["evidence"]
    assert (evidence["status"], evidence["provider_task_id"]) == ("accepted", "901930004609634393")
    assert shown["next"]["action"] == "poll" and shown["next"]["at"].endswith("Z")
    assert 1 <= int(answer.headers["retry-after"]) <= 60


async def test_an_unchanged_task_answers_304_to_its_etag(client: httpx.AsyncClient, house: House) -> None:
    task = await create(client)
    path = f"/v1/tasks/{task['id']}"
    tag = (await client.get(path)).headers["etag"]
    unchanged = await client.get(path, headers={"if-none-match": f'"other", W/{tag}'})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", tag)
    in_two_lines = await client.get(path, headers=[("if-none-match", '"other"'), ("if-none-match", tag)])
    assert in_two_lines.status_code == 304  # one list, RFC 9110 §5.3
    await house.bought(str(task["id"]))
    changed = await client.get(path, headers={"if-none-match": tag})
    assert changed.status_code == 200 and changed.headers["etag"] != tag


async def test_waiting_ends_with_the_task(client: httpx.AsyncClient, house: House) -> None:
    task = await create(client)
    waiting = asyncio.create_task(client.get(f"/v1/tasks/{task['id']}?wait=30"))
    await until(lambda: house.context.watch.waiting == 1)
    await house.succeeded(str(task["id"]))
    answer = await asyncio.wait_for(waiting, 30)
    assert answer.json()["status"] == "succeeded"
    assert house.context.watch.waiting == 0


async def test_waiting_beside_an_etag_ends_with_any_change(client: httpx.AsyncClient, house: House) -> None:
    task = await create(client)
    path = f"/v1/tasks/{task['id']}"
    tag = (await client.get(path)).headers["etag"]
    waiting = asyncio.create_task(client.get(f"{path}?wait=30", headers={"if-none-match": tag}))
    await until(lambda: house.context.watch.waiting == 1)
    await house.submitting(str(task["id"]))
    answer = await asyncio.wait_for(waiting, 30)
    assert (answer.status_code, answer.json()["status"]) == (200, "submitting")


async def test_waiting_is_over_when_the_process_is_about_to_stop(client: httpx.AsyncClient, house: House) -> None:
    task = await create(client)
    waiting = asyncio.create_task(client.get(f"/v1/tasks/{task['id']}?wait=60"))
    await until(lambda: house.context.watch.waiting == 1)
    house.context.watch.close()
    assert (await asyncio.wait_for(waiting, 30)).json()["status"] == "queued"


async def test_a_wait_beyond_a_minute_is_refused(client: httpx.AsyncClient) -> None:
    task = await create(client)
    assert (await client.get(f"/v1/tasks/{task['id']}?wait=61")).status_code == 422


async def test_preferring_to_wait_gives_the_end_with_200(client: httpx.AsyncClient, house: House) -> None:
    asking = asyncio.create_task(client.post("/v1/tasks", json=order(), headers={"prefer": "respond-async, wait=20"}))
    await until(lambda: house.context.watch.waiting == 1)
    [task] = (await client.get("/v1/tasks")).json()["data"]
    await house.succeeded(task["id"])
    answer = await asyncio.wait_for(asking, 30)
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
    assert answer.headers["preference-applied"] == "wait=20"
    assert answer.json()["output_url"].startswith(f"{BASE}/o/")


async def test_preferring_to_wait_in_vain_gives_202_and_when_to_come_back(
    client: httpx.AsyncClient, house: House
) -> None:
    asking = asyncio.create_task(client.post("/v1/tasks", json=order(), headers={"prefer": "wait=60"}))
    await until(lambda: house.context.watch.waiting == 1)
    house.context.watch.close()  # as at the end of the minute
    answer = await asyncio.wait_for(asking, 30)
    assert answer.status_code == 202 and int(answer.headers["retry-after"]) >= 1
    assert "preference-applied" not in answer.headers


async def test_the_timeline_tells_everything_in_order_and_what_comes_next(
    client: httpx.AsyncClient, house: House
) -> None:
    task = await create(client)
    await house.bought(str(task["id"]))
    await house.saw(str(task["id"]), Claim.RUNNING, provider_status="processing")
    told = (await client.get(f"/v1/tasks/{task['id']}/timeline")).json()
    assert [entry["kind"] for entry in told["data"]] == ["created", "intent", "bound", "running"]
    assert told["data"][2]["message"] == "cloudsway has it as job job-1."
    assert [entry["at"] for entry in told["data"]] == sorted(entry["at"] for entry in told["data"])
    assert told["next"]["action"] == "poll" and told["status"] == "processing"


async def test_a_queued_task_is_canceled_and_its_event_told(client: httpx.AsyncClient, house: House) -> None:
    task = await create(client)
    answer = await client.post(f"/v1/tasks/{task['id']}/cancel")
    assert (answer.status_code, answer.json()["status"], answer.json()["charge"]) == (200, "canceled", "none")
    [event] = (await client.get("/v1/events")).json()["data"]
    assert event["type"] == "task.canceled"


async def test_a_task_that_was_bought_or_ended_cannot_be_canceled(client: httpx.AsyncClient, house: House) -> None:
    task = await create(client)
    await house.bought(str(task["id"]))
    path = f"/v1/tasks/{task['id']}/cancel"
    answer = await client.post(path)
    assert (answer.status_code, answer.json()["code"]) == (409, "cannot_cancel")
    assert answer.json()["detail"] == "cloudsway has this job and offers no cancel; it runs to its end and is charged."
    assert answer.headers["x-should-retry"] == "false"
    await house.saw(str(task["id"]), Claim.SUCCEEDED, source=Source.POLL)
    assert (await client.post(path)).status_code == 409


async def test_a_purchase_that_begins_first_beats_the_cancel(client: httpx.AsyncClient, house: House) -> None:
    task = await create(client)

    class Slow:
        """Between the reading of the task and the wish to cancel it, its account's lane begins to buy."""

        async def record(self, seen: Observation) -> Recorded:
            await house.submitting(str(task["id"]))
            return await house.context.recorder.record(seen)

    context = replace(house.context, recorder=Slow())  # type: ignore[arg-type]
    async with house.client(create_app(context), house.key) as late:
        answer = await late.post(f"/v1/tasks/{task['id']}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "cannot_cancel")
    assert "It is being bought from cloudsway" in answer.json()["detail"]


async def test_a_task_is_with_the_account_that_has_the_fewest_open_ones(
    client: httpx.AsyncClient, house: House
) -> None:
    second = account("cloudsway-2", "cloudsway", BASE)
    context = replace(house.context, accounts={**house.context.accounts, "cloudsway-2": second})
    async with house.client(create_app(context), house.key) as both:
        chosen = [(await create(both))["account"] for _ in range(4)]
        await both.post("/v1/tasks", json=order(account="cloudsway", provider=None))
        await both.post("/v1/tasks", json=order(account="cloudsway", provider=None))
        later = [(await create(both))["account"] for _ in range(2)]
    assert chosen == ["cloudsway", "cloudsway-2"] * 2
    assert later == ["cloudsway-2"] * 2


async def test_another_projects_task_is_a_plain_404_and_stays_as_it_is(
    client: httpx.AsyncClient, house: House, calling: Calling
) -> None:
    task = await create(client, reference="mine")
    before = await house.sizes()
    async with calling(house.keys["stranger"]) as stranger:
        absent = f"task_{'0' * 26}"
        for method, path in (("GET", ""), ("GET", "/timeline"), ("POST", "/cancel")):
            foreign = await stranger.request(method, f"/v1/tasks/{task['id']}{path}")
            missing = await stranger.request(method, f"/v1/tasks/{absent}{path}")
            assert foreign.status_code == missing.status_code == 404
            a, b = foreign.json(), missing.json()
            assert {**a, "request_id": ""} == {**b, "request_id": ""}
        assert (await stranger.get("/v1/tasks")).json()["data"] == []
        assert (await stranger.post("/v1/tasks", json=order(reference="mine"))).status_code == 202
    assert (await house.sizes())["events"] == before["events"]
    assert (await client.get(f"/v1/tasks/{task['id']}")).json()["status"] == TaskStatus.QUEUED


@pytest.mark.parametrize("id", ["nope", "task_%00", "evt_" + "0" * 26, "task_" + "0" * 500])
async def test_what_cannot_be_an_id_is_not_there(client: httpx.AsyncClient, id: str) -> None:
    assert (await client.get(f"/v1/tasks/{id}")).status_code == 404


async def test_a_task_waits_for_an_account_that_is_full_and_its_end_is_of_whoever_canceled_it(
    client: httpx.AsyncClient, house: House
) -> None:
    first = (await client.post("/v1/tasks", json=order())).json()
    await house.bought(first["id"])
    accounts = house.context.accounts
    accounts["cloudsway"] = replace(accounts["cloudsway"], max_open_tasks=1)  # type: ignore[index]
    second = (await client.post("/v1/tasks", json=order())).json()
    shown = (await client.get(f"/v1/tasks/{second['id']}")).json()
    assert shown["next"]["at"] is None and "1 jobs are open there" in shown["next"]["reason"]
    await client.post(f"/v1/tasks/{second['id']}/cancel")
    told = (await client.get(f"/v1/tasks/{second['id']}/timeline")).json()
    assert (told["next"], told["data"][-1]["message"][:31]) == (None, 'Canceled by API key "admin" (ke')
