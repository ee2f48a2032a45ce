from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest

from service.api.app import ROUTES, Api
from service.api.auth import bearer
from tests.service.api.house import House, order

Calling = Callable[[str], httpx.AsyncClient]
SENTENCE = (
    'No key that is known here came with this. Send "Authorization: Bearer <key>". '
    "Make one: taskrelay keys create --name me --scope tasks"
)

BAD: list[list[tuple[str, bytes]]] = [
    [],
    [("authorization", b"")],
    [("authorization", b"Bearer")],
    [("authorization", "Bearer é".encode())],
    [("authorization", b"Bearer \xe9")],
    [("authorization", b"Bearer trk_" + b"x" * 32)],
    [("authorization", b"Bearer trk_" + b"x" * 5000)],
    [("authorization", b"Basic dXNlcjpwYXNz")],
]


@pytest.mark.parametrize("headers", BAD)
async def test_without_a_good_key_there_is_one_answer_and_nothing_happens(
    house: House, app: Api, headers: list[tuple[str, bytes]]
) -> None:
    before = await house.sizes()
    async with house.client(app, "") as nobody:
        answer = await nobody.post("/v1/tasks", json=order(), headers=headers)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["detail"]) == (401, SENTENCE)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert await house.sizes() == before


async def test_two_keys_at_once_are_none(house: House, app: Api) -> None:
    headers = [("authorization", f"Bearer {house.key}"), ("authorization", f"Bearer {house.keys['stranger']}")]
    async with house.client(app, "") as nobody:
        assert (await nobody.get("/v1/whoami", headers=headers)).status_code == 401


def test_the_word_bearer_is_read_whatever_its_case() -> None:
    key = b"trk_" + b"k" * 32
    assert bearer([(b"authorization", b"bEaReR  " + key)]) == key


@pytest.mark.parametrize("method, path, scopes", [(method, path, scopes) for method, path, scopes, _ in ROUTES])
async def test_every_route_asks_for_its_scope_by_name(
    house: House, calling: Calling, method: str, path: str, scopes: tuple[str, ...]
) -> None:
    url = path.replace("{id}", "task_" + "0" * 26).replace("{name}", "cloudsway")
    if path.endswith("/stream"):
        url += (
            "?after=evt_" + "0" * 26
        )  # from a place nobody knows: refused behind the scope, before it goes on for ever
    for scope in ("tasks", "endpoints", "read", "admin"):
        async with calling(await house.key_with(scope)) as client:
            answer = await client.request(method, url)
        if scope in (*scopes, "admin"):
            assert answer.status_code not in (401, 403)
        else:
            assert answer.status_code == 403
            assert answer.json()["code"] == "missing_scope"
            assert f'the scope "{scopes[0]}"; this key has {scope}' in answer.json()["detail"]


async def test_reading_is_enough_for_every_get_and_for_nothing_else() -> None:
    # Who holds a secret can sign in our name. And whoever has a key may give it up.
    assert all(
        ("read" in scopes) == (method == "GET" and not path.endswith("/secret"))
        for method, path, scopes, _ in ROUTES
        if (method, path) != ("DELETE", "/v1/keys/{id}")
    )


async def come_with(app: Api, key: str, *, address: str = "192.0.2.1") -> httpx.Response:
    """A request from an address."""
    transport = httpx.ASGITransport(app=app, client=(address, 1234))
    async with httpx.AsyncClient(transport=transport, base_url="http://any.test") as client:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return await client.get("/v1/whoami", headers=headers)


def wrong(number: int) -> str:
    return f"trk_{number:032d}"


async def test_who_comes_with_wrong_keys_again_and_again_is_told_to_wait(house: House, app: Api) -> None:
    for number in range(20):
        assert (await come_with(app, wrong(number))).status_code == 401
    told = await come_with(app, wrong(20))
    assert (told.status_code, told.json()["code"], told.headers["retry-after"]) == (429, "too_many_wrong_keys", "3")
    assert (await come_with(app, "no key at all")).status_code == 429
    house.clock.advance(3)
    assert (await come_with(app, wrong(21))).status_code == 401
    assert (await come_with(app, wrong(22))).status_code == 429


async def test_a_good_key_from_the_same_address_goes_on_working_and_so_does_everybody_else(
    house: House, app: Api
) -> None:
    for number in range(25):
        last = await come_with(app, wrong(number))
    assert last.status_code == 429
    assert (await come_with(app, house.key)).status_code == 200
    assert (await come_with(app, "")).status_code == 401, "none at all is not a wrong one"
    assert (await come_with(app, wrong(0), address="192.0.2.2")).status_code == 401


async def test_wrong_keys_from_one_address_do_not_take_all_readers(house: House, app: Api) -> None:
    for number in range(20):
        await come_with(app, wrong(number))
    async with house.context.wrong_keys.one_by_one:
        queued = [asyncio.create_task(come_with(app, wrong(number))) for number in range(5)]
        assert (await come_with(app, house.key, address="192.0.2.2")).status_code == 200, "others do not stand in line"
        assert not any(one.done() for one in queued)
    assert {one.status_code for one in await asyncio.gather(*queued)} == {429}


async def test_a_key_that_was_revoked_or_never_made_gets_the_same_answer(house: House, app: Api) -> None:
    key = await house.key_with("read")
    assert (await come_with(app, key)).status_code == 200
    await house.context.database.write(lambda tx: tx.fetch("UPDATE api_keys SET revoked_at = 1 WHERE name = 'read'"))
    revoked, never = await come_with(app, key), await come_with(app, wrong(1))
    assert revoked.status_code == never.status_code == 401
    assert {**revoked.json(), "request_id": ""} == {**never.json(), "request_id": ""}
    assert revoked.headers.keys() == never.headers.keys()
