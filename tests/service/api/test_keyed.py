"""What stands before every route with a key."""

from __future__ import annotations

import httpx

from service.api.app import create_app
from service.api.auth import READ
from service.api.call import Call, reply
from service.core.request import Fault, Invalid
from storage.database import Connection
from tests.service.api.house import House

KEY = {"idempotency-key": "a"}


async def makes(call: Call) -> httpx.Response:
    """A route of another dialect, which creates something."""
    await call.stated({})
    answer = reply({"project": call.project_id}, 201)

    async def unit(tx: Connection) -> None:
        await call.keep(tx, answer)

    await call.database.write(unit)
    return answer  # type: ignore[return-value]


async def refuses(call: Call) -> httpx.Response:
    raise Invalid([Fault(pointer="/a", detail="No.")])


async def test_rows_of_other_dialects_stand_behind_the_same_key_scope_rate_and_repeats(house: House) -> None:
    rows = (("POST", "/other/v1/things", READ, makes), ("GET", "/other/v1/things/{id}", READ, refuses))
    app = create_app(house.context, more=rows)  # type: ignore[arg-type]
    async with house.client(app, "") as nobody:
        assert (await nobody.post("/other/v1/things")).status_code == 401
    async with house.client(app, await house.key_with("tasks")) as poor:
        assert (await poor.post("/other/v1/things")).status_code == 403
    async with house.client(app, house.key) as client:
        told = [await client.post("/other/v1/things", headers=KEY) for _ in range(2)]
        wrong = await client.get("/other/v1/things/1")
        assert (await client.get("/v1/tasks")).status_code == 200
    assert [one.headers.get("taskrelay-replayed") for one in told] == [None, "key"]
    assert (told[1].content, told[1].headers["cache-control"]) == (told[0].content, "no-store")
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (422, "a")


async def test_what_was_erased_says_so_where_the_route_has_nothing_else_to_say(house: House) -> None:
    app = create_app(house.context, more=(("POST", "/other", READ, makes),))  # type: ignore[arg-type]
    async with house.client(app, house.key) as client:
        await client.post("/other", headers=KEY)
        await house.context.database.write(lambda tx: tx.fetch("UPDATE answers SET body = NULL, task_id = 'task_1'"))
        told = await client.post("/other", headers=KEY)
    assert (told.status_code, told.json()["code"], told.json()["existing"]) == (410, "answer_erased", "task_1")
