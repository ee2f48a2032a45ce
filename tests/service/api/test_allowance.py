"""A budget and a bound of open tasks, from the body that sets them to the last task that fits."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from service.api.allowance import read_allowance
from service.core.observation import Claim
from service.core.request import Fault
from service.pipeline import books
from tests.service.api.house import House, account, order, ulazai

PRICE = Decimal("0.04")  # of the house's plainest task: 4 units at 0.01 USD


async def bound(client: httpx.AsyncClient, amount: str | None = "0.14", **more: object) -> dict[str, Any]:
    """Give the key's project a budget (that three tasks fit in), or take it away."""
    budget = None if amount is None else {"amount": amount, "currency": "USD", "period": "month", **more}
    answer = await client.patch("/v1/projects/current", json={"budget": budget})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def project(client: httpx.AsyncClient) -> dict[str, Any]:
    body: dict[str, Any] = (await client.get("/v1/projects/current")).json()
    return body


async def make(client: httpx.AsyncClient, **more: object) -> str:
    answer = await client.post("/v1/tasks", json=order(**more))
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def sides(body: dict[str, Any]) -> tuple[str, str, str]:
    budget = body["budget"]
    return budget["used"], budget["reserved"], budget["remaining"]


async def test_of_fifty_at_the_edge_of_a_budget_for_three_three_are_made(
    house: House, client: httpx.AsyncClient
) -> None:
    await bound(client)
    answers = await asyncio.gather(*(client.post("/v1/tasks", json=order()) for _ in range(50)))
    assert Counter(answer.status_code for answer in answers) == {202: 3, 402: 47}
    assert (await house.sizes())["tasks"] == 3
    assert sides(await project(client)) == ("0", "0.12", "0.02")


async def test_of_fifty_at_once_as_many_are_open_as_may_be(house: House, client: httpx.AsyncClient) -> None:
    assert (await client.patch("/v1/projects/current", json={"max_open_tasks": 3})).json()["max_open_tasks"] == 3
    answers = await asyncio.gather(*(client.post("/v1/tasks", json=order()) for _ in range(50)))
    assert Counter(answer.status_code for answer in answers) == {202: 3, 429: 47}
    [refused] = [answer for answer in answers if answer.status_code == 429][:1]
    assert refused.json()["code"] == "too_many_open_tasks"
    assert int(refused.headers["retry-after"]) > 0 and "x-should-retry" not in refused.headers
    made = [answer.json()["id"] for answer in answers if answer.status_code == 202]
    assert (await client.post(f"/v1/tasks/{made[0]}/cancel")).status_code == 200
    await make(client)
    assert (await client.post("/v1/tasks", json=order())).status_code == 429


async def test_who_is_refused_hears_what_there_is_what_it_takes_and_where_to_raise_it(
    house: House, client: httpx.AsyncClient
) -> None:
    await bound(client, "0.10")
    for _ in range(2):
        await make(client)
    sizes = await house.sizes()
    refused = await client.post("/v1/tasks", json=order(webhook_url="https://a.example.org/x"))
    assert (refused.status_code, refused.json()["code"]) == (402, "budget_exhausted")
    assert refused.headers["x-should-retry"] == "false"
    assert refused.json()["detail"].startswith(
        f"0.08 of 0.10 USD used; this task needs 0.04. Raise it: PATCH /v1/projects/{house.project_id}"
    )
    assert refused.json()["budget"]["remaining"] == "0.02"
    assert await house.sizes() == sizes, "nothing is left of it"
    await bound(client, "0.12")
    await make(client)


async def test_a_dry_run_is_told_the_same_and_shows_the_budget(client: httpx.AsyncClient) -> None:
    dry = "/v1/tasks?dry_run=true"
    assert (await client.post(dry, json=order())).json()["budget"] is None
    await bound(client, "0.05")
    shown = (await client.post(dry, json=order())).json()["budget"]
    assert (shown["remaining"], shown["period"]) == ("0.05", "month")
    await make(client)
    refused = await client.post(dry, json=order())
    assert (refused.status_code, refused.json()["code"]) == (402, "budget_exhausted")


async def test_what_ends_without_a_charge_is_free_again_at_once(house: House, client: httpx.AsyncClient) -> None:
    await bound(client, "0.04")
    first = await make(client)
    assert (await client.post("/v1/tasks", json=order())).status_code == 402
    assert (await client.post(f"/v1/tasks/{first}/cancel")).status_code == 200
    assert sides(await project(client)) == ("0", "0", "0.04")
    second = await make(client)
    await house.bought(second)
    await house.saw(second, Claim.FAILED, refunded=True)
    assert sides(await project(client)) == ("0", "0", "0.04")


async def test_a_charge_counts_as_the_provider_states_it(house: House, client: httpx.AsyncClient) -> None:
    await bound(client, "0.10")
    first = await make(client)
    await house.bought(first)
    assert sides(await project(client)) == ("0", "0.04", "0.06")
    await house.saw(first, Claim.FAILED, charged="9")
    assert sides(await project(client)) == ("0.09", "0", "0.01")
    assert (await client.post("/v1/tasks", json=order())).status_code == 402
    await bound(client, "0.05")
    assert sides(await project(client)) == ("0.09", "0", "0"), "more than there is, which is never less than nothing"


async def test_a_purchase_in_doubt_counts_as_spent_until_it_is_settled(house: House, client: httpx.AsyncClient) -> None:
    await bound(client, "0.04")
    first = await make(client)
    submission = await house.submitting(first)
    await house.saw(first, Claim.AMBIGUOUS)
    assert submission and (await project(client))["budget"]["reserved"] == "0.04"


async def test_the_dearest_who_may_be_asked_is_reserved_and_let_go_once_it_cannot_be_asked(
    house: House, client: httpx.AsyncClient
) -> None:
    await bound(client, "1.05")
    dear = {"provider": "ulazai", "model": "kling-3.0"}
    first = await make(client, fallbacks=[dear])
    assert sides(await project(client)) == ("0", "1", "0.05")
    refused = await client.post("/v1/tasks", json=order(fallbacks=[dear]))
    assert refused.status_code == 402 and "needs 1.00" in refused.json()["detail"]
    await house.bought(first)
    assert sides(await project(client)) == ("0", "0.04", "1.01")


async def test_without_a_price_nothing_is_bought_under_a_budget(
    house: House, client: httpx.AsyncClient, calling: Callable[[str], httpx.AsyncClient]
) -> None:
    accounts = house.context.accounts
    accounts["ulazai"] = account("ulazai", "ulazai", None, unit_price=None)  # type: ignore[index]
    accounts["cloudsway"] = account("cloudsway", "cloudsway", None, unit_price="0.01 EUR")  # type: ignore[index]
    await bound(client)
    fallbacks = [{"account": "ulazai", "model": "kling-3.0"}]
    refused = await client.post("/v1/tasks", json=order(fallbacks=fallbacks))
    assert (refused.status_code, refused.json()["code"]) == (422, "price_unknown")
    told = {fault["pointer"]: fault["detail"] for fault in refused.json()["errors"]}
    assert set(told) == {"/provider", "/fallbacks/0/account"}
    assert "its price is in EUR" in told["/provider"]
    assert 'TASKRELAY_ACCOUNTS__ULAZAI__UNIT_PRICE="<price> USD"' in told["/fallbacks/0/account"]
    assert (await client.post("/v1/tasks?dry_run=true", json=order())).status_code == 422
    async with calling(house.keys["stranger"]) as other:
        assert (await other.post("/v1/tasks", json=ulazai())).status_code == 202, "whose project has no budget"


async def test_of_two_accounts_the_one_with_a_price_is_taken(house: House, client: httpx.AsyncClient) -> None:
    accounts: Any = house.context.accounts
    accounts["cloudsway"] = account("cloudsway", "cloudsway", None, unit_price=None)
    accounts["second"] = account("second", "cloudsway", None)
    await bound(client)
    made = (await client.post("/v1/tasks", json=order())).json()
    assert made["account"] == "second"
    assert ("account", "second") in {key for key, _ in house.rung}


async def test_setting_a_budget_counts_what_was_made_before(house: House, client: httpx.AsyncClient) -> None:
    open_one, ended = await make(client), await make(client)
    await house.succeeded(ended)
    house.clock.advance(40 * 86_400)  # the month is over
    await make(client)
    assert sides(await bound(client, "5")) == ("0", "0.04", "4.96")
    assert sides(await bound(client, "5", period="total")) == ("0.04", "0.08", "4.88")
    await house.bought(open_one, "job-2")  # so late that it had expired unbought: a job too many, and paid
    assert sides(await project(client)) == ("0.08", "0.04", "4.88")


async def test_a_budget_of_a_month_begins_again(house: House, client: httpx.AsyncClient) -> None:
    body = await bound(client, "0.04")
    await make(client)
    assert (await client.post("/v1/tasks", json=order())).status_code == 402
    house.clock.advance(32 * 86_400)
    again = await project(client)
    assert again["budget"]["resets_at"] > body["budget"]["resets_at"]
    assert sides(again) == ("0", "0", "0.04")
    await make(client)


async def test_a_budget_that_is_taken_away_and_given_again_has_missed_nothing(
    house: House, client: httpx.AsyncClient
) -> None:
    await bound(client)
    first = await make(client)
    assert (await bound(client, None))["budget"] is None
    await make(client)
    await client.post(f"/v1/tasks/{first}/cancel")
    assert sides(await bound(client)) == ("0", "0.04", "0.1")


async def test_a_project_without_a_bound_keeps_no_books(house: House, client: httpx.AsyncClient) -> None:
    await house.succeeded(await make(client))

    async def unit(tx: Any) -> list[tuple[object, ...]]:
        return [
            *await tx.fetch("SELECT slot FROM books"),
            *await tx.fetch("SELECT slot FROM bookings"),
            *await tx.fetch("SELECT booked FROM tasks WHERE booked IS NOT NULL"),
        ]

    assert await house.context.database.read(unit) == []


async def test_another_projects_tasks_do_not_count(
    house: House, client: httpx.AsyncClient, calling: Callable[[str], httpx.AsyncClient]
) -> None:
    await bound(client, "0.04")
    async with calling(house.keys["stranger"]) as other:
        await bound(other, "0.08")
        await make(other)
        await make(client)
        assert sides(await project(other)) == ("0", "0.04", "0.04")
    balance = await house.context.database.read(lambda tx: books.read(tx, house.project_id))
    assert balance.standing(house.clock()).open == 1


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"budget": 5}, "/budget"),
        ({"budget": {"amount": "5", "currency": "USD", "period": "week"}}, "/budget/period"),
        ({"budget": {"amount": "5", "currency": "usd", "period": "month"}}, "/budget/currency"),
        ({"budget": {"amount": 0.5, "currency": "USD", "period": "month"}}, "/budget/amount"),
        ({"budget": {"amount": "0", "currency": "USD", "period": "month"}}, "/budget/amount"),
        ({"budget": {"amount": "1e9", "currency": "USD", "period": "month"}}, "/budget/amount"),
        ({"budget": {"amount": True, "currency": "USD", "period": "month"}}, "/budget/amount"),
        ({"budget": {"amount": "5", "currency": "USD", "period": "month", "x/y": 1}}, "/budget/x~1y"),
        ({"max_open_tasks": 0}, "/max_open_tasks"),
        ({"max_open_tasks": True}, "/max_open_tasks"),
        ({"max_open_tasks": "3"}, "/max_open_tasks"),
    ],
)
def test_a_slip_is_told_at_its_place(members: dict[str, object], pointer: str) -> None:
    faults: list[Fault] = []
    read_allowance(members, faults)
    assert [fault.pointer for fault in faults] == [pointer]


def test_what_is_not_named_stays_and_null_takes_away() -> None:
    faults: list[Fault] = []
    assert not read_allowance({}, faults)
    taken = read_allowance({"budget": None}, faults)
    assert (taken.names, taken.budget, taken.detail) == (("budget",), None, {"budget": None})
    whole = read_allowance({"budget": {"amount": 50, "currency": "USD", "period": "total"}}, faults)
    assert whole.budget is not None and whole.budget.amount == "50" and faults == []


async def test_whoami_shows_what_is_left(client: httpx.AsyncClient) -> None:
    await bound(client)
    shown = (await client.get("/v1/whoami")).json()["project"]
    assert (shown["budget"]["remaining"], shown["max_open_tasks"]) == ("0.14", None)


async def test_who_makes_a_task_hears_that_its_account_has_as_many_jobs_as_it_may(
    house: House, client: httpx.AsyncClient
) -> None:
    accounts: Any = house.context.accounts
    accounts["cloudsway"] = account("cloudsway", "cloudsway", None, max_open_tasks=1)
    first = (await client.post("/v1/tasks", json=order())).json()
    assert "MAX_OPEN_TASKS" not in first["next"]["reason"]
    await house.bought(first["id"])
    second = (await client.post("/v1/tasks", json=order())).json()
    assert "1 jobs are open there, as many as may be (MAX_OPEN_TASKS)" in second["next"]["reason"]
