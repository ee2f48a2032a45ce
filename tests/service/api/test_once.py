"""A creating request that is asked again: done once, answered with the same bytes."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from service.api.app import Api, create_app
from service.api.call import Call
from service.api.once import KEPT_UNTIL, REPLAYED, Answered, once_of
from service.api.problems import Problem
from service.core.keys import Keyring
from service.core.times import DAY
from storage.database import Connection
from storage.records import ApiKey
from tests import engines
from tests.service.api.house import House, order, until

KEY = {"idempotency-key": '"order-8841"'}
SECRETS = re.compile(r"whsec_[A-Za-z0-9+/=]+|trk_[A-Za-z0-9_-]{20,}")


async def rows(house: House, table: str) -> int:
    return (await house.sizes())[table]


async def sdk(client: httpx.AsyncClient, attempt: int | None, **more: object) -> httpx.Response:
    """A create as an SDK by Stainless sends it."""
    headers = {"x-stainless-lang": "python"} | ({} if attempt is None else {"x-stainless-retry-count": str(attempt)})
    return await client.post("/v1/tasks", json=order(**more), headers=headers)


@contextlib.asynccontextmanager
async def busy_writer(house: House) -> AsyncIterator[None]:
    """Whatever is to be written meanwhile waits in line."""
    begun, thread, loop = threading.Event(), threading.Event(), asyncio.Event()

    async def unit(tx: Connection) -> None:
        begun.set()
        if engines.POSTGRES:
            await loop.wait()
        else:
            thread.wait()  # a unit of SQLite runs in the writer's thread and never waits otherwise

    held = asyncio.create_task(house.context.database.write(unit))
    await until(begun.is_set)
    try:
        yield
    finally:
        thread.set()
        loop.set()
        await held


# With a key


async def test_the_same_key_and_request_get_the_same_bytes_and_one_task(
    house: House, client: httpx.AsyncClient
) -> None:
    first = await client.post("/v1/tasks", json=order(), headers=KEY)
    house.clock.advance(3600)
    again = await client.post("/v1/tasks", json=order(), headers={"idempotency-key": "order-8841"})  # bare is the same
    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers[REPLAYED] == "key" and REPLAYED not in first.headers
    assert again.headers[KEPT_UNTIL] == first.headers[KEPT_UNTIL]
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert await rows(house, "tasks") == 1


async def test_members_in_another_order_are_the_same_request(house: House, client: httpx.AsyncClient) -> None:
    await client.post("/v1/tasks", json=order(), headers=KEY)
    backwards = dict(reversed(order().items()))
    assert (await client.post("/v1/tasks", json=backwards, headers=KEY)).headers[REPLAYED] == "key"


async def test_another_request_under_the_same_key_is_refused_by_name(house: House, client: httpx.AsyncClient) -> None:
    await client.post("/v1/tasks", json=order(), headers=KEY)
    other = await client.post("/v1/tasks", json=order(reference="another"), headers=KEY)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert await rows(house, "tasks") == 1


async def test_what_was_refused_may_be_mended_under_the_same_key(house: House, client: httpx.AsyncClient) -> None:
    await client.post("/v1/tasks", json=order(reference="taken"))
    assert (await client.post("/v1/tasks", json=order(model="none"), headers=KEY)).status_code == 422
    assert (await client.post("/v1/tasks", json=order(reference="taken"), headers=KEY)).status_code == 409
    assert await rows(house, "answers") == 0
    assert (await client.post("/v1/tasks", json=order(), headers=KEY)).status_code == 202


@pytest.mark.parametrize("stated", [KEY, {"x-stainless-retry-count": "0"}])
async def test_text_that_cannot_be_kept_is_refused_at_its_place(
    house: House, client: httpx.AsyncClient, stated: dict[str, str]
) -> None:
    half = b'{"provider": "cloudsway", "model": "kling-3.0-turbo", "input": {"prompt": "\\ud800", "\\udfff": 1}}'
    headers = {**stated, "content-type": "application/json"}
    refused = await client.post("/v1/tasks", content=half, headers=headers)
    assert refused.status_code == 422, refused.text
    assert {fault["pointer"] for fault in refused.json()["errors"]} >= {"/input/prompt"}
    assert await rows(house, "answers") == 0


async def test_a_dry_run_is_never_kept(house: House, client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/tasks?dry_run=true", json=order(), headers=KEY)).status_code == 200
    assert (await client.post("/v1/tasks", json=order(), headers=KEY)).status_code == 202


async def test_another_project_and_another_route_have_keys_of_their_own(
    house: House, client: httpx.AsyncClient, calling: Callable[[str], httpx.AsyncClient]
) -> None:
    await client.post("/v1/tasks", json=order(), headers=KEY)
    async with calling(house.keys["stranger"]) as stranger:
        assert REPLAYED not in (await stranger.post("/v1/tasks", json=order(), headers=KEY)).headers
    assert (await client.post("/v1/endpoints", json={"url": "https://10.1.0.1/"}, headers=KEY)).status_code == 201


async def test_another_key_of_the_same_project_hears_the_same_answer(
    house: House, client: httpx.AsyncClient, calling: Callable[[str], httpx.AsyncClient]
) -> None:
    first = await client.post("/v1/tasks", json=order(), headers=KEY)
    async with calling(await house.key_with("tasks")) as colleague:
        assert (await colleague.post("/v1/tasks", json=order(), headers=KEY)).content == first.content


async def test_a_reference_and_a_key_work_together(house: House, client: httpx.AsyncClient) -> None:
    first = await client.post("/v1/tasks", json=order(reference="8841"), headers=KEY)
    again = await client.post("/v1/tasks", json=order(reference="8841"), headers=KEY)
    other = await client.post("/v1/tasks", json=order(reference="8841"), headers={"idempotency-key": "other"})
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert (other.status_code, other.json()["existing"]) == (409, first.json()["id"])


async def test_two_hundred_at_once_with_one_key_make_one_task(house: House, app: Api) -> None:
    async with house.client(app, house.key) as client:
        told = await asyncio.gather(*(client.post("/v1/tasks", json=order(), headers=KEY) for _ in range(200)))
    assert {one.status_code for one in told} == {202}
    assert len({one.content for one in told}) == 1
    assert sum(REPLAYED not in one.headers for one in told) == 1
    assert (await rows(house, "tasks"), await rows(house, "answers"), len(house.rung)) == (1, 1, 1)


async def test_whoever_waits_on_a_repeat_gets_the_end_and_not_what_was_true_then(
    house: House, client: httpx.AsyncClient
) -> None:
    first = await client.post("/v1/tasks", json=order(), headers=KEY)
    await house.succeeded(first.json()["id"])
    plain = await client.post("/v1/tasks", json=order(), headers=KEY)
    waiting = await client.post("/v1/tasks", json=order(), headers=KEY | {"prefer": "wait=5"})
    assert (plain.status_code, plain.json()["status"]) == (202, "queued")
    assert (waiting.status_code, waiting.json()["status"]) == (200, "succeeded")
    assert (waiting.headers["preference-applied"], waiting.headers[REPLAYED]) == ("wait=5", "key")


async def test_who_waited_the_first_time_finds_the_same_task_without_waiting(
    house: House, client: httpx.AsyncClient
) -> None:
    first = await client.post("/v1/tasks", json=order(), headers=KEY | {"prefer": "wait=0"})
    again = await client.post("/v1/tasks", json=order(), headers=KEY)
    assert (again.json()["id"], KEPT_UNTIL in first.headers) == (first.json()["id"], True)


async def test_an_erased_task_leaves_no_prompt_behind_and_is_not_bought_again(
    house: House, client: httpx.AsyncClient
) -> None:
    first = await client.post("/v1/tasks", json=order(), headers=KEY)
    task = first.json()["id"]
    await house.succeeded(task)
    assert (await client.delete(f"/v1/tasks/{task}")).status_code == 204
    kept = await house.context.database.read(lambda tx: tx.fetch("SELECT body, sealed, headers FROM answers"))
    assert "paper boat" not in str(kept)
    again = await client.post("/v1/tasks", json=order(), headers=KEY)
    assert (again.status_code, again.json()["id"], again.json()["input"]) == (200, task, {})
    assert await rows(house, "tasks") == 1


async def test_an_answer_is_kept_a_day_and_as_long_as_its_task_may_be_open(
    house: House, client: httpx.AsyncClient
) -> None:
    for seconds, days in ((60, 1), (604_800, 7)):
        made = await client.post(
            "/v1/tasks", json=order(deadline_seconds=seconds), headers={"idempotency-key": str(days)}
        )
        [(until, asked)] = await house.context.database.read(
            lambda tx, key=str(days): tx.fetch(
                "SELECT keep_until, asked_at FROM answers WHERE asked_as = :key", {"key": key}
            )  # type: ignore[misc]
        )
        assert made.status_code == 202 and round((until - asked) / DAY) == days


async def test_what_is_no_key_is_refused_on_every_post(client: httpx.AsyncClient) -> None:
    for bad in ('""', '"', "a,b", "ä", "x" * 256, '"a"; p=1', "a b"):
        for path in ("/v1/tasks", "/v1/tasks/task_00000000000000000000000000/cancel"):
            told = await client.post(path, json=order(), headers={b"idempotency-key": bad.encode()})
            assert (told.status_code, told.json()["code"]) == (400, "malformed_idempotency_key")


async def test_two_keys_are_none(client: httpx.AsyncClient) -> None:
    told = await client.post("/v1/tasks", json=order(), headers=[("idempotency-key", "a"), ("idempotency-key", "a")])
    assert told.json()["code"] == "malformed_idempotency_key"


async def test_a_secret_is_kept_sealed_and_given_again(house: House, client: httpx.AsyncClient) -> None:
    body = {"url": "https://10.1.0.1/hook"}
    first = await client.post("/v1/endpoints", json=body, headers=KEY)
    again = await client.post("/v1/endpoints", json=body, headers=KEY)
    assert again.content == first.content and again.json()["secret"] == first.json()["secret"]
    kept = await house.context.database.read(lambda tx: tx.fetch("SELECT * FROM answers"))
    assert first.json()["secret"] not in str(kept)
    assert await rows(house, "endpoints") == 1


# Every route that creates


async def endpoint(client: httpx.AsyncClient) -> str:
    made = await client.post("/v1/endpoints", json={"url": "https://10.1.0.1/hook"})
    return str(made.json()["id"])


async def delivery(client: httpx.AsyncClient, house: House) -> str:
    await endpoint(client)
    made = await client.post("/v1/tasks", json=order())
    await house.succeeded(made.json()["id"])
    listed = await client.get("/v1/deliveries")
    return str(listed.json()["data"][0]["id"])


async def project(client: httpx.AsyncClient) -> str:
    return str((await client.get("/v1/projects/current")).json()["id"])


Path = Callable[[httpx.AsyncClient, House], Awaitable[str]]
CREATING: dict[str, tuple[Path, object]] = {}


def creating(name: str, body: object) -> Callable[[Path], Path]:
    def noted(path: Path) -> Path:
        CREATING[name] = (path, body)
        return path

    return noted


@creating("task", order())
async def _task(client: httpx.AsyncClient, house: House) -> str:
    return "/v1/tasks"


@creating("endpoint", {"url": "https://10.1.0.1/hook"})
async def _endpoint(client: httpx.AsyncClient, house: House) -> str:
    return "/v1/endpoints"


@creating("endpoint's secret", {})
async def _endpoint_secret(client: httpx.AsyncClient, house: House) -> str:
    return f"/v1/endpoints/{await endpoint(client)}/rotate"


@creating("test", {})
async def _test(client: httpx.AsyncClient, house: House) -> str:
    return f"/v1/endpoints/{await endpoint(client)}/test"


@creating("replay", {"which": "missing", "since": "2026-01-01T00:00:00Z"})
async def _replay(client: httpx.AsyncClient, house: House) -> str:
    return f"/v1/endpoints/{await endpoint(client)}/replay"


@creating("retry", None)
async def _retry(client: httpx.AsyncClient, house: House) -> str:
    return f"/v1/deliveries/{await delivery(client, house)}/retry"


@creating("signing key", {})
async def _signing_key(client: httpx.AsyncClient, house: House) -> str:
    return "/v1/signing-keys/rotate"


@creating("key", {"name": "ci", "scopes": ["tasks"]})
async def _key(client: httpx.AsyncClient, house: House) -> str:
    return "/v1/keys"


@creating("project", {"name": "another"})
async def _project(client: httpx.AsyncClient, house: House) -> str:
    return "/v1/projects"


@creating("project's secret", {})
async def _project_secret(client: httpx.AsyncClient, house: House) -> str:
    return f"/v1/projects/{await project(client)}/rotate"


@pytest.mark.parametrize("what", CREATING)
async def test_every_creating_route_does_it_once(house: House, client: httpx.AsyncClient, what: str) -> None:
    path_of, body = CREATING[what]
    path = await path_of(client, house)
    told = [await client.post(path, json=body, headers=KEY) for _ in range(2)]
    assert told[0].is_success, told[0].text
    assert (told[1].status_code, told[1].content) == (told[0].status_code, told[0].content)
    assert (REPLAYED in told[0].headers, told[1].headers.get(REPLAYED)) == (False, "key")
    kept = str(await house.context.database.read(lambda tx: tx.fetch("SELECT body, sealed FROM answers")))
    assert [secret for secret in SECRETS.findall(told[0].text) if secret in kept] == [], "sealed"
    if body is not None:
        other = await client.post(path, json={**body, "no_such": 1}, headers=KEY)  # type: ignore[dict-item]
        assert other.json()["code"] == "idempotency_key_reused"
    assert REPLAYED not in (await client.post(path, json=body)).headers


async def test_the_same_key_at_another_id_is_another_request(client: httpx.AsyncClient) -> None:
    one, other = await endpoint(client), await endpoint(client)
    rotated = await client.post(f"/v1/endpoints/{one}/rotate", headers=KEY)
    refused = await client.post(f"/v1/endpoints/{other}/rotate", headers=KEY)
    assert rotated.status_code == 200
    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")


# Several transactions


def of(house: House, key: str = "k", members: object = None) -> Call:
    api_key = ApiKey(
        id="key_1", project_id=house.project_id, name="me", digest=b"", prefix="", scopes=frozenset(), created_at=0
    )
    raw = [(b"idempotency-key", key.encode())]
    scope = {"type": "http", "method": "POST", "path": "/v1/uploads", "query_string": b"", "headers": raw}
    request = Request(scope)
    once = once_of(house.context, api_key, request, "POST /v1/uploads")
    return Call(context=house.context, request=request, key=api_key, once=once)


async def test_what_is_still_worked_on_is_a_conflict_that_passes(house: House) -> None:
    begun, done = asyncio.Event(), asyncio.Event()

    async def work() -> Response:
        begun.set()
        await done.wait()
        return Response(b"{}", 201)

    first, second, third = of(house), of(house), of(house)
    for call in (first, second):
        await call.stated({})
    working = asyncio.create_task(first.in_steps(work, seconds=60))
    await begun.wait()
    with pytest.raises(Problem) as told:
        await second.in_steps(work, seconds=60)
    assert (told.value.code, told.value.headers["retry-after-ms"]) == ("idempotency_key_in_use", "1000")
    done.set()
    assert (await working).status_code == 201
    with pytest.raises(Answered):
        await third.stated({})


async def test_work_that_failed_gives_its_place_back(house: House) -> None:
    async def fails() -> Response:
        raise Problem("upload_failed", "no")

    async def works() -> Response:
        return Response(b"{}", 201)

    for work, good in ((fails, False), (works, True)):
        call = of(house)
        await call.stated({})
        if good:
            assert (await call.in_steps(work, seconds=60)).status_code == 201
        else:
            with pytest.raises(Problem):
                await call.in_steps(work, seconds=60)


async def test_work_whose_process_died_is_taken_over_once_its_time_is_up(house: House) -> None:
    async def never() -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def works() -> Response:
        return Response(b"{}", 201)

    dead = of(house)
    await dead.stated({})
    dying = asyncio.create_task(dead.in_steps(never, seconds=60))
    while await rows(house, "answers") == 0:
        pass
    dying.cancel()
    early, other, late = of(house), of(house), of(house)
    await early.stated({})
    with pytest.raises(Problem):
        await early.in_steps(works, seconds=60)
    house.clock.advance(61)
    with pytest.raises(Problem) as told:
        await other.stated({"another": "file"})
        await other.in_steps(works, seconds=60)
    assert told.value.code == "idempotency_key_reused", "it is no try of what died"
    await late.stated({})
    assert (await late.in_steps(works, seconds=60)).status_code == 201


async def test_an_answer_kept_without_its_place_is_a_mistake_that_is_seen(house: House) -> None:
    call = of(house)
    await call.stated({})

    async def unit(tx: Connection) -> None:
        await call.keep(tx, Response(b"{}", 201))

    with pytest.raises(RuntimeError, match="outside of the transaction"):
        await house.context.database.write(unit)
    with pytest.raises(RuntimeError, match="did not state"):
        await of(house).database.write(unit)


# SDKs that send no key


async def test_a_retry_of_an_sdk_finds_what_its_first_try_made(house: House, client: httpx.AsyncClient) -> None:
    first = await sdk(client, 0)
    again = await sdk(client, 1)
    assert (again.content, again.headers[REPLAYED]) == (first.content, "retry")
    assert (await sdk(client, 2)).content == first.content
    assert await rows(house, "tasks") == 1


async def test_equal_calls_of_an_sdk_are_as_many_tasks(house: House, client: httpx.AsyncClient) -> None:
    told = await asyncio.gather(*(sdk(client, 0) for _ in range(4)), *(sdk(client, None) for _ in range(2)))
    assert len({one.json()["id"] for one in told}) == 6
    assert not any(REPLAYED in one.headers for one in told)


async def test_requests_without_a_word_of_retries_keep_nothing(house: House, client: httpx.AsyncClient) -> None:
    told = [await client.post("/v1/tasks", json=order()) for _ in range(4)]
    assert len({one.json()["id"] for one in told}) == 4
    assert not any(KEPT_UNTIL in one.headers for one in told)
    assert await rows(house, "answers") == 0


async def test_four_parallel_retries_find_four_different_tasks(house: House, client: httpx.AsyncClient) -> None:
    first = {(await sdk(client, 0)).json()["id"] for _ in range(4)}
    retries = [one.json()["id"] for one in await asyncio.gather(*(sdk(client, 1) for _ in range(4)))]
    assert (len(first), set(retries)) == (4, first)
    fifth = await sdk(client, 1)
    assert fifth.json()["id"] not in first, (
        "every earlier one has its retry: this belongs to a call whose first try was lost"
    )


async def test_a_retry_before_its_first_try_was_committed_finds_it_all_the_same(
    house: House, client: httpx.AsyncClient
) -> None:
    database = house.context.database
    async with busy_writer(house):
        first = asyncio.create_task(sdk(client, 0))
        await until(lambda: database.waiting == 1)
        retry = asyncio.create_task(sdk(client, 1))
        await until(lambda: database.waiting == 2)
    assert (await first).json()["id"] == (await retry).json()["id"]
    assert ((await first).headers.get(REPLAYED), (await retry).headers.get(REPLAYED)) == (None, "retry")
    assert await rows(house, "tasks") == 1


async def test_a_first_try_that_its_retry_overtook_is_answered_with_what_that_made(house: House) -> None:
    api_key = ApiKey(
        id="key_1", project_id=house.project_id, name="me", digest=b"", prefix="", scopes=frozenset(), created_at=0
    )

    def call(attempt: int) -> Call:
        house.clock.advance(1)
        raw = [(b"x-stainless-retry-count", str(attempt).encode())]
        request = Request({"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": raw})
        once = once_of(house.context, api_key, request, "POST /v1/tasks")
        return Call(context=house.context, request=request, key=api_key, once=once)

    async def make(one: Call) -> str:
        await one.stated({})

        async def unit(tx: Connection) -> str:
            await one.keep(tx, Response(str(one.once).encode(), 202))
            return str(one.once)

        try:
            return await one.database.write(unit)
        except Answered as again:
            return bytes(again.response.body).decode()

    slow, retry, later = call(0), call(1), call(0)
    made = await make(retry)
    assert await make(slow) == made, "it was asked before its retry, and waited somewhere"
    assert await make(later) != made, "it was asked after that, so it is another call"


async def test_another_key_and_another_request_are_other_calls(
    house: House, client: httpx.AsyncClient, calling: Callable[[str], httpx.AsyncClient]
) -> None:
    first = await sdk(client, 0)
    async with calling(await house.key_with("tasks")) as colleague:
        assert (await sdk(colleague, 1)).json()["id"] != first.json()["id"]
    assert (await sdk(client, 1, metadata={"a": "b"})).json()["id"] != first.json()["id"]


async def test_after_ten_minutes_a_retry_is_another_call(house: House, client: httpx.AsyncClient) -> None:
    first = await sdk(client, 0)
    house.clock.advance(601)
    assert (await sdk(client, 1)).json()["id"] != first.json()["id"]


@pytest.mark.parametrize("said", [KEY, {"x-stainless-retry-count": "1"}], ids=["its key", "its count"])
async def test_what_was_done_before_the_keys_were_rotated_is_not_done_again(
    said: dict[str, str], house: House, client: httpx.AsyncClient
) -> None:
    first = await client.post("/v1/tasks", json=order(), headers=said | {"x-stainless-retry-count": "0"})
    rotated = replace(house.context, keyring=Keyring([b"n" * 32, b"k" * 32]))
    async with house.client(create_app(rotated), house.key) as later:
        again = await later.post("/v1/tasks", json=order(), headers=said)
    assert again.json()["id"] == first.json()["id"] and REPLAYED in again.headers


async def test_a_key_is_stronger_than_a_count(house: House, client: httpx.AsyncClient) -> None:
    first = await client.post("/v1/tasks", json=order(), headers=KEY | {"x-stainless-retry-count": "0"})
    again = await client.post("/v1/tasks", json=order(), headers=KEY | {"x-stainless-retry-count": "1"})
    other = await client.post(
        "/v1/tasks", json=order(), headers={"idempotency-key": "other", "x-stainless-retry-count": "1"}
    )
    assert again.headers[REPLAYED] == "key" and again.content == first.content
    assert other.json()["id"] != first.json()["id"]


async def test_a_count_that_cannot_be_read_is_a_first_try(client: httpx.AsyncClient) -> None:
    ids = set()
    for odd in ("-1", "x", "1.0", "9999999", "", ""):
        told = await client.post("/v1/tasks", json=order(), headers={"x-stainless-retry-count": odd})
        ids.add(told.json()["id"])
    assert len(ids) == 6
