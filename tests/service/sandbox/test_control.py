from __future__ import annotations

from typing import Any

import httpx
import pytest

from service.sandbox.accounts import label
from service.sandbox.subscriber import Subscriber
from service.sandbox.world import World
from tests.service.sandbox.conftest import KEY, Arrived, HandClock, statuses
from tests.service.sandbox.test_cloudsway import TASKS, TEXT, body, create, query
from tests.service.sandbox.test_ulazai import create as create_at_ulazai


async def test_ledger_counts_purchases_and_times_everything(
    client: httpx.AsyncClient, world: World, clock: HandClock, callback_url: str, arrived: Arrived
) -> None:
    job_id = await create(client, "A boat", callback_url)
    await create_at_ulazai(client, prompt="A cat")
    await arrived(1)
    await world.quiet()
    clock.now += 2
    world.finish(job_id)
    await arrived(2)
    await world.quiet()
    await query(client, external_task_ids="task_1")
    told: dict[str, Any] = (await client.get("/_sandbox/ledger")).json()
    assert told["accepted"] == {"cloudsway": {"task_1": 1}, "ulazai": {"A cat": 1}}
    assert told["open"] == {"cloudsway": 0, "ulazai": 1}
    job = told["jobs"][0]
    start = job["accepted_at"]
    assert (job["id"], job["external_id"], job["callback_url"]) == (job_id, "task_1", callback_url)
    assert (told["now"] - start, job["finished_at"] - start) == (2, 2)
    assert [(push["status"], push["at"] - start, push["attempts"][0]["status"]) for push in job["pushes"]] == [
        ("submitted", 0, 204),
        ("succeeded", 2, 204),
    ]
    assert (job["queried"], job["queries"]) == (1, [{"at": start + 2, "by": "external_id"}])
    assert (await client.get("/_sandbox/jobs")).json() == told["jobs"]


async def test_requests_show_what_was_sent_but_no_credential(client: httpx.AsyncClient) -> None:
    await create(client)
    await client.get(TASKS)
    reply = await client.get("/_sandbox/requests", params={"contract": "cloudsway", "kind": "create"})
    [seen] = reply.json()
    assert (seen["method"], seen["path"], seen["status"]) == ("POST", TEXT, 200)
    assert '"prompt":"A paper boat"' in seen["body"]
    assert KEY not in reply.text
    assert len((await client.get("/_sandbox/requests")).json()) == 2


async def test_script_is_set_used_up_and_shown(client: httpx.AsyncClient) -> None:
    script = {"creates": [{"directive": "status=500", "times": 2, "contract": "cloudsway"}]}
    await client.put("/_sandbox/script", json=script)
    assert (await client.post(TEXT, json=body())).status_code == 500
    left = (await client.get("/_sandbox/script")).json()
    assert left == {"creates": [{"directive": "status=500", "times": 1, "contract": "cloudsway"}], "queries": []}


async def test_bad_script_is_refused_and_the_old_one_stays(client: httpx.AsyncClient) -> None:
    await client.put("/_sandbox/script", json={"queries": [{"directive": "hang"}]})
    wrongs: list[dict[str, object]] = [{"queries": [{"directive": "hangs"}]}, {"query": []}]
    for wrong in wrongs:
        reply = await client.put("/_sandbox/script", json=wrong)
        assert reply.status_code == 400 and reply.json()["error"]
    assert (await client.get("/_sandbox/script")).json()["queries"][0]["directive"] == "hang"


async def test_knobs_turn_and_show_no_secret(client: httpx.AsyncClient, world: World) -> None:
    change = {
        "job_seconds": 0.5,
        "unique_external_id": False,
        "webhook_secret": "whsec_aGFsbG8=",
        "concurrency_limit": 3,
    }
    reply = await client.patch("/_sandbox/knobs", json=change)
    assert (world.knobs.job_seconds, world.knobs.unique_external_id, world.knobs.concurrency_limit) == (0.5, False, 3)
    assert world.knobs.webhook_secret == "whsec_aGFsbG8="
    assert "aGFsbG8" not in reply.text
    assert (reply.json()["webhook_secret"], reply.json()["api_key"]) == ("set", None)


@pytest.mark.parametrize(
    "change",
    [
        {"job_second": 1},
        {"job_seconds": "1"},
        {"job_seconds": -1},
        {"unique_external_id": 0},
        {"push_retries": True},
        {"credits": 1.5},
        {"output_base": ""},
        {"rate": "fast"},
        {"faults": "no-pusch"},
        {"apiinone_replies": "latest"},
        {"retired_models": "kling-v1"},
    ],
)
async def test_wrong_knob_or_value_is_refused_by_name(
    client: httpx.AsyncClient, world: World, change: dict[str, object]
) -> None:
    before = repr(world.knobs)
    reply = await client.patch("/_sandbox/knobs", json={"push_retry_seconds": 9} | change)
    assert reply.status_code == 400 and next(iter(change)) in reply.json()["error"]
    assert repr(world.knobs) == before


async def test_rules_are_set_for_a_contract_and_a_key_and_tell_neither_key_nor_secret(
    client: httpx.AsyncClient, world: World
) -> None:
    change = {"contract": "cloudsway", "key": KEY, "credits": 0, "webhook_secret": "whsec_aGFsbG8="}
    reply = await client.patch("/_sandbox/rules", json=change)
    assert reply.json() == [{"contract": "cloudsway", "key": label(KEY), "credits": 0, "webhook_secret": "set"}]
    assert KEY not in reply.text and "aGFsbG8" not in reply.text
    assert (await client.post(TEXT, json=body())).json()["code"] == 1101
    # By its label, as the list of accounts tells it.
    back = {"contract": "cloudsway", "key": label(KEY), "credits": None, "webhook_secret": None}
    assert (await client.patch("/_sandbox/rules", json=back)).json() == []
    assert (await client.post(TEXT, json=body())).status_code == 200


async def test_accounts_tell_what_was_spent_and_is_left(client: httpx.AsyncClient, world: World) -> None:
    world.knobs.credits = 400
    await create_at_ulazai(client)
    reply = await client.get("/_sandbox/accounts")
    assert reply.json() == [{"key": label(KEY), "company": "ulazai", "spent": 310, "left": 90, "open": {"ulazai": 1}}]
    assert KEY not in reply.text


@pytest.mark.parametrize(
    "change",
    [
        {"credits": 1},
        {"contract": "kling", "credits": 1},
        {"contract": 7},
        {"key": "a", "credits": -1},
        {"key": "a", "job_seconds": 1},
    ],
)
async def test_wrong_rule_is_refused(client: httpx.AsyncClient, world: World, change: dict[str, object]) -> None:
    reply = await client.patch("/_sandbox/rules", json=change)
    assert reply.status_code == 400 and reply.json()["error"]
    assert world.book.own == {}


async def test_jobs_are_moved_by_hand_from_outside(
    client: httpx.AsyncClient, world: World, receiver: Subscriber, callback_url: str, arrived: Arrived
) -> None:
    job_id = await create(client, "A boat", callback_url)
    at = f"/_sandbox/jobs/{job_id}"
    replies = [
        await client.post(f"{at}/begin"),
        await client.post(f"{at}/finish", json={"failed": True}),
        await client.post(f"{at}/push", json={"status": "succeeded"}),
        await client.post(f"{at}/finish"),
    ]
    assert [reply.json()["status"] for reply in replies] == ["processing", "failed", "failed", "succeeded"]
    pushes = await arrived(5)
    assert sorted(statuses(pushes)) == sorted(["submitted", "processing", "failed", "succeeded", "succeeded"])


@pytest.mark.parametrize(
    ("path", "order"),
    [
        ("nobody/finish", {}),
        ("{id}/finish", {"failed": 1}),
        ("{id}/finish", {"ended": True}),
        ("{id}/push", {}),
        ("{id}/push", {"status": "completed"}),
    ],
)
async def test_order_it_cannot_follow_is_400_and_says_why(
    client: httpx.AsyncClient, path: str, order: dict[str, object]
) -> None:
    made = await create_at_ulazai(client)
    reply = await client.post("/_sandbox/jobs/" + path.format(id=made["task_id"]), json=order)
    assert reply.status_code == 400 and reply.json()["error"]


async def test_body_of_an_order_must_be_a_json_object(client: httpx.AsyncClient) -> None:
    for wrong in (b"{", b"[]", b" " * (1 << 20) + b"{}"):
        assert (await client.patch("/_sandbox/knobs", content=wrong)).status_code == 400


async def test_reset_empties_the_ledger_and_restores_the_knobs(client: httpx.AsyncClient, world: World) -> None:
    await create(client)
    await client.patch("/_sandbox/knobs", json={"unique_external_id": False})
    assert (await client.post("/_sandbox/reset")).status_code == 204
    told = (await client.get("/_sandbox/ledger")).json()
    assert (told["jobs"], told["accepted"], world.knobs.unique_external_id) == ([], {}, True)
    assert (await client.get("/_sandbox/requests")).json() == []
