"""What tasks came to, in exact sums, of one's own project; of all projects for admin alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from service.api import usage
from service.core.observation import Claim, Observation, Reading, Source
from service.core.times import iso
from storage.records import Output
from tests.service.api.house import VIDEO, House, order, ulazai


async def bought(
    client: httpx.AsyncClient, house: House, job: str, *, charged: str | None = None, **more: object
) -> str:
    task_id = str((await client.post("/v1/tasks", json=order(**more))).json()["id"])
    await house.bought(task_id, job)
    reading = Reading(
        claim=Claim.SUCCEEDED, provider_task_id=job, outputs=(Output(url=VIDEO),), charged=charged, cost_unit="credit"
    )
    seen = Observation(task_id=task_id, source=Source.POLL, reading=reading, at=house.clock())
    await house.context.recorder.record(seen)
    return task_id


async def asked(client: httpx.AsyncClient, **query: object) -> dict[str, Any]:
    reply = await client.get("/v1/usage", params=query)  # type: ignore[arg-type]
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


async def test_amounts_are_added_exactly_and_by_what_they_are(client: httpx.AsyncClient, house: House) -> None:
    for number in range(3):
        await bought(client, house, f"job-{number}", charged="0.1")
    await client.post("/v1/tasks", json=order())
    house.clock.advance(1)
    [group] = (await asked(client, group_by="account"))["data"]
    assert group["group"] == {"account": "cloudsway"}
    assert group["tasks"] == {"total": 4, "queued": 1, "succeeded": 3}
    sums = {one["unit"]: one for one in group["costs"]}
    assert (sums["credit"]["charged"], sums["credit"]["surplus"]) == ("0.3", "0")
    assert any(one["open"] != "0" for one in group["costs"]) or group["unpriced"]


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("model", ["cloudsway/kling-3.0-turbo", "ulazai/kling-3.0"]),
        ("account", ["cloudsway", "ulazai"]),
        ("metadata.team", ["red", None]),
    ],
)
async def test_groups_have_their_names(
    client: httpx.AsyncClient, house: House, by: str, names: list[str | None]
) -> None:
    await bought(client, house, "job-1", metadata={"team": "red"})
    await client.post("/v1/tasks", json=ulazai())
    house.clock.advance(1)
    found = await asked(client, group_by=by)
    assert [one["group"] for one in found["data"]] == [{by: name} for name in names]


async def test_a_day_is_a_date_and_the_span_is_of_the_tasks_making(client: httpx.AsyncClient, house: House) -> None:
    begin = house.clock()
    for number in range(3):
        await bought(client, house, f"job-{number}")
        house.clock.advance(86_400)
    days = [one["group"]["day"] for one in (await asked(client, group_by="day"))["data"]]
    assert days == [iso(begin + number * 86_400_000_000)[:10] for number in range(3)]
    later = await asked(client, group_by="day", since=iso(begin + 86_000_000_000))
    assert len(later["data"]) == 2
    early = await asked(client, group_by="day", until=iso(begin + 86_000_000_000))
    assert (len(early["data"]), early["until"]) == (1, iso(begin + 86_000_000_000))


async def test_many_groups_come_page_by_page(client: httpx.AsyncClient, house: House) -> None:
    for number in range(5):
        await client.post("/v1/tasks", json=order(metadata={"order": f"{number}"}))
    house.clock.advance(1)
    names, after = [], None
    while True:
        query = {"group_by": "metadata.order", "limit": 2} | ({"after": after} if after else {})
        page = await asked(client, **query)
        names += [one["group"]["metadata.order"] for one in page["data"]]
        after = page["next"]
        if not page["has_more"]:
            break
    assert names == ["0", "1", "2", "3", "4"]


async def test_more_tasks_than_one_stretch_are_all_counted(
    client: httpx.AsyncClient, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "STRETCH", 2)
    for _ in range(5):
        await client.post("/v1/tasks", json=order())
    house.clock.advance(1)
    [group] = (await asked(client, group_by="account"))["data"]
    assert group["tasks"]["total"] == 5


async def test_too_many_groups_are_refused_with_what_to_do(
    client: httpx.AsyncClient, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "MOST_GROUPS", 1)
    for number in range(2):
        await client.post("/v1/tasks", json=order(metadata={"order": f"{number}"}))
    house.clock.advance(1)
    reply = await client.get("/v1/usage", params={"group_by": "metadata.order"})
    assert (reply.status_code, "Ask for less at a time" in reply.json()["detail"]) == (422, True)


async def test_another_projects_tasks_are_seen_by_project_and_by_admin_alone(
    client: httpx.AsyncClient, house: House, calling: Callable[[str], httpx.AsyncClient]
) -> None:
    await client.post("/v1/tasks", json=order())
    async with calling(house.keys["stranger"]) as stranger:
        await stranger.post("/v1/tasks", json=order())
    house.clock.advance(1)
    [mine] = (await asked(client, group_by="account"))["data"]
    assert mine["tasks"]["total"] == 1
    assert len((await asked(client, group_by="project"))["data"]) == 2
    reader = await house.key_with("read")
    denied = await client.get(
        "/v1/usage", params={"group_by": "project"}, headers={"authorization": f"Bearer {reader}"}
    )
    assert (denied.status_code, denied.json()["code"]) == (403, "missing_scope")


@pytest.mark.parametrize(
    "query", [{}, {"group_by": "colour"}, {"group_by": "metadata."}, {"group_by": "day", "since": "x"}]
)
async def test_what_cannot_be_grouped_is_refused_by_name(client: httpx.AsyncClient, query: dict[str, str]) -> None:
    assert (await client.get("/v1/usage", params=query)).status_code == 422
