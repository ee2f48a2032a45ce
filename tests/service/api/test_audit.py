"""The audit over HTTP: nothing is missing, what is broken on purpose is listed, and each key sees its own project."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest

from service.pipeline import audit, audit_deliveries
from service.pipeline.audit_part import COUNTS
from storage import callbacks
from storage.callbacks import Orphan
from tests.service.api.house import House, order

Calling = Callable[[str], httpx.AsyncClient]


async def lived(client: httpx.AsyncClient, house: House) -> dict[str, str]:
    """Endpoints that came, changed, slept and went, and ends before, between and after."""
    names: dict[str, str] = {}

    async def end(name: str, **more: object) -> None:
        names[name] = (await client.post("/v1/tasks", json=order(**more))).json()["id"]
        await house.succeeded(names[name], job=f"job-{name}")

    async def subscribe(name: str, **more: object) -> None:
        made = await client.post("/v1/endpoints", json={"url": f"https://{name}.example.org/", **more})
        names[name] = made.json()["id"]

    await end("before")
    await subscribe("first")
    await subscribe("eu", filter={"metadata": {"shop": "eu"}}, events=["*"])
    await end("second", metadata={"shop": "us"}, webhook_url="https://run.example.net/x")
    await client.post(f"/v1/endpoints/{names['first']}/pause")
    await client.patch(f"/v1/endpoints/{names['eu']}", json={"filter": None, "events": ["task.succeeded"]})
    await end("third")
    await client.post(f"/v1/endpoints/{names['first']}/resume")
    await client.delete(f"/v1/endpoints/{names['eu']}")
    await end("fourth")
    names["canceled"] = (await client.post("/v1/tasks", json=order())).json()["id"]
    await client.post(f"/v1/tasks/{names['canceled']}/cancel")
    return names


async def looked(client: httpx.AsyncClient, **query: str) -> dict[str, Any]:
    answer = await client.get("/v1/audit", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def damage(house: House, text: str, params: Mapping[str, object] | None = None) -> None:
    await house.context.database.write(lambda tx: tx.fetch(text, params))


async def test_a_life_of_changes_leaves_nothing_missing(client: httpx.AsyncClient, house: House) -> None:
    await lived(client, house)
    found = await looked(client)
    assert (found["unexplained"], found["unknown"], found["has_more"], found["next"]) == ([], [], False, None)
    counts = found["counts"]
    assert tuple(counts) == COUNTS and found["next_attempt_at"] and found["cannot_be_known"]
    assert (counts["ends"], counts["ended"], counts["jobs"], counts["bound"]) == (5, 5, 4, 4)
    # second: first and its own URL; third: first (paused) and eu; fourth and canceled: first
    assert (counts["owed"], counts["pending"], counts["canceled"], counts["missing"]) == (6, 5, 1, 0)


async def test_a_delivery_that_is_gone_is_listed_and_so_is_what_was_never_told(
    client: httpx.AsyncClient, house: House
) -> None:
    names = await lived(client, house)
    await damage(house, "DELETE FROM deliveries WHERE task_id = :id", {"id": names["second"]})
    await damage(house, "DELETE FROM events WHERE task_id = :id", {"id": names["fourth"]})
    await damage(house, "UPDATE tasks SET provider_task_id = NULL WHERE id = :id", {"id": names["third"]})
    found = await looked(client)
    assert sorted((one["kind"], one["task"]) for one in found["unexplained"]) == sorted(
        [
            ("delivery_missing", names["second"]),
            ("delivery_missing", names["second"]),
            ("end_untold", names["fourth"]),
            ("job_without_task", names["third"]),
        ]
    )
    assert all(one["message"] for one in found["unexplained"])
    assert found["counts"]["unexplained"] == 4


async def test_a_long_audit_is_read_stretch_by_stretch(
    client: httpx.AsyncClient, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lived(client, house)
    whole = (await looked(client))["counts"]
    monkeypatch.setattr(audit, "MOST", 2)
    monkeypatch.setattr(audit_deliveries, "BATCH", 2)
    part, sums, stretches = await looked(client), dict.fromkeys(COUNTS, 0), 1
    while True:
        sums = {name: sums[name] + part["counts"][name] for name in COUNTS}
        if not part["has_more"]:
            break
        part, stretches = await looked(client, after=part["next"]), stretches + 1
    assert (sums, stretches > 4) == (whole, True)


async def test_it_can_begin_at_an_instant(client: httpx.AsyncClient, house: House) -> None:
    names = await lived(client, house)
    since = (await client.get(f"/v1/tasks/{names['fourth']}")).json()["finished_at"]
    found = await looked(client, since=since)
    assert (found["since"], found["counts"]["ends"]) == (since, 2)
    assert (await client.get("/v1/audit?since=yesterday")).status_code == 422
    assert (await client.get("/v1/audit?after=nonsense")).status_code == 422


async def test_pushes_nobody_owns_are_shown_to_admins_alone(
    client: httpx.AsyncClient, house: House, calling: Calling
) -> None:
    row = Orphan(
        id="cbk_" + "0" * 26, provider="cloudsway", submission_id="sub_x", raw=b"{}", received_at=house.clock()
    )
    await house.context.database.write(lambda tx: callbacks.keep_orphan(tx, row, b"d", limit=9))
    found = await looked(client)
    assert (found["counts"]["orphans"], [one["kind"] for one in found["unexplained"]]) == (1, ["orphan"])
    async with calling(await house.key_with("read")) as reader:
        for query in ({}, {"after": "b3JwaGFucyA"}):  # the second is a cursor of an admin's
            found = await looked(reader, **query)
            assert (found["counts"]["orphans"], found["unexplained"]) == (None, [])
    async with calling(await house.key_with("tasks", "endpoints")) as other:
        assert (await other.get("/v1/audit")).status_code == 403


async def test_another_project_sees_nothing_of_it(client: httpx.AsyncClient, house: House, calling: Calling) -> None:
    names = await lived(client, house)
    async with calling(house.keys["stranger"]) as stranger:
        assert not any((await looked(stranger))["counts"].values())
        own = (await stranger.get("/v1/audit/log")).json()["data"]
        assert [one["action"] for one in own] == ["key.create"]
        assert (await stranger.get(f"/v1/audit/log?endpoint={names['first']}")).json()["data"] == []


async def test_what_was_ordered_stands_in_the_log_with_who_ordered_it(client: httpx.AsyncClient, house: House) -> None:
    names = await lived(client, house)
    me = (await client.get("/v1/whoami")).json()
    page = (await client.get("/v1/audit/log")).json()
    told = [(one["action"], one["endpoint"] or one["task"]) for one in reversed(page["data"])]
    assert sorted(told) == sorted(
        [
            ("endpoint.create", names["first"]),
            ("endpoint.create", names["eu"]),
            ("endpoint.pause", names["first"]),
            ("endpoint.change", names["eu"]),
            ("endpoint.resume", names["first"]),
            ("endpoint.delete", names["eu"]),
            ("cancel", names["canceled"]),
            ("key.create", None),  # the one that asks, which somebody made at the command line
        ]
    )
    assert {one["key"] for one in page["data"] if one["detail"].get("by") != "command"} == {me["id"]}
    assert page["data"][-1]["key"] is None and page["data"][-1]["detail"]["key"] == me["id"]
    changed = (await client.get("/v1/audit/log", params={"endpoint": names["eu"]})).json()["data"]
    assert [one["detail"] for one in changed if one["action"] == "endpoint.change"] == [
        {"members": ["events", "filter"]}
    ]
    assert [one["action"] for one in (await client.get(f"/v1/audit/log?task={names['canceled']}")).json()["data"]] == [
        "cancel"
    ]
    first = (await client.get("/v1/audit/log?limit=3")).json()
    rest = (await client.get("/v1/audit/log", params={"after": first["next"]})).json()
    assert [one["id"] for one in (*first["data"], *rest["data"])] == [one["id"] for one in page["data"]]


async def test_sending_again_by_hand_is_in_the_log(client: httpx.AsyncClient, house: House) -> None:
    names = await lived(client, house)
    [owed] = (await client.get("/v1/deliveries", params={"task": names["fourth"]})).json()["data"]
    await client.post(f"/v1/deliveries/{owed['id']}/retry")
    await client.post(
        f"/v1/endpoints/{names['first']}/replay", json={"which": "missing", "since": "2020-01-01T00:00:00Z"}
    )
    await client.post(f"/v1/endpoints/{names['first']}/rotate")
    told = {
        one["action"]: one["detail"]
        for one in (await client.get("/v1/audit/log", params={"endpoint": names["first"]})).json()["data"]
    }
    assert told["retry"] == {"delivery": owed["id"]}
    assert told["replay"] == {"which": "missing", "since": "2020-01-01T00:00:00.000000Z"}
    assert told["endpoint.rotate"] == {"overlap_seconds": 86400}
    found = await looked(client)
    assert (found["unexplained"], found["counts"]["besides"]) == ([], 1), "the end of before was replayed"
