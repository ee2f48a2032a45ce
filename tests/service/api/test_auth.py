from __future__ import annotations

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
    # Who holds a secret can sign in our name.
    assert all(
        ("read" in scopes) == (method == "GET" and not path.endswith("/secret")) for method, path, scopes, _ in ROUTES
    )
