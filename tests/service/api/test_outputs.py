from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from service.api import outputs
from service.api.app import Api, create_app
from service.core.observation import Claim, Observation, Reading, Source
from service.core.times import DAY, SECOND
from storage import lanes
from storage.database import Connection, Database, Unit
from storage.records import LaneKind, Output
from tests.service.api.house import VIDEO, House, order, until
from tests.service.api.test_stream import Flaky

BELLS = "SELECT count(*) FROM observations WHERE source = 'reader'"
RENEWED = "https://cdn.example.net/a.mp4?sig=2"
HOUR = 3600 * SECOND


@pytest.fixture
async def anybody(house: House, app: Api) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody with a link and no key."""
    async with house.client(app, "") as opened:
        yield opened


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no provider answers is not waited for; a test that plays one says how long it may take."""
    monkeypatch.setattr(outputs, "WAIT_SECONDS", 0.0)
    monkeypatch.setattr(outputs, "WAIT_DOUBTFUL_SECONDS", 0.0)


async def made(house: House, client: httpx.AsyncClient, expires_in: int | None = HOUR) -> str:
    """A task that succeeded; its link dies after so long."""
    task_id: str = (await client.post("/v1/tasks", json=order())).json()["id"]
    await house.bought(task_id)
    expires_at = house.clock() + expires_in if expires_in is not None else None
    await house.saw(task_id, Claim.SUCCEEDED, outputs=(Output(url=VIDEO, expires_at=expires_at),))
    return task_id


def link(house: House, task_id: str) -> str:
    return f"/o/{house.context.tokens.output(task_id)}"


async def answers(house: House, task_id: str, claim: Claim, url: str | None = None, life: int = HOUR) -> None:
    """The provider, asked for a link."""
    shown = (Output(url=url, expires_at=house.clock() + life),) if url is not None else ()
    reading = Reading(claim=claim, provider_task_id="job-1", outputs=shown)
    answer = Observation(
        task_id=task_id,
        source=Source.POLL,
        reading=reading,
        at=house.clock(),
        prompted_by=Claim.WANTED,
        account="cloudsway",
    )
    await house.context.recorder.record(answer)


async def bells(house: House) -> int:
    async def unit(tx: Connection) -> int:
        [(count,)] = await tx.fetch(BELLS)
        return int(str(count))

    return await house.context.database.read(unit)


async def test_an_output_link_leads_to_the_provider_and_tells_it_nothing(
    client: httpx.AsyncClient, anybody: httpx.AsyncClient, house: House
) -> None:
    task_id = await made(house, client)
    url = (await client.get(f"/v1/tasks/{task_id}")).json()["output_url"]
    for method in ("GET", "HEAD"):
        answer = await anybody.request(method, url.removeprefix("https://relay.example.org"))
        assert (answer.status_code, answer.headers["location"]) == (302, VIDEO)
        assert (answer.headers["referrer-policy"], answer.headers["cache-control"]) == ("no-referrer", "no-store")
    assert await bells(house) == 0


async def test_an_output_link_without_an_output_is_gone(client: httpx.AsyncClient, house: House) -> None:
    task = (await client.post("/v1/tasks", json=order())).json()
    await house.failed(task["id"])
    answer = await client.get(link(house, task["id"]))
    assert (answer.status_code, answer.json()["code"]) == (410, "output_gone")


async def test_a_bad_output_token_and_one_for_nothing_look_the_same(client: httpx.AsyncClient, house: House) -> None:
    good = house.context.tokens.output("task_" + "0" * 26)
    callback = house.context.tokens.callback("cloudsway", "sub_" + "0" * 26)
    answers = [await client.get(f"/o/{token}") for token in (good, callback, "x", good + "!!", good[:-1] + "%00")]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.json()["detail"] for answer in answers}) == 1


class Untouchable:
    """A database that must not be asked."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"{name} was used")


async def test_a_stranger_with_a_made_up_token_never_reaches_the_database(house: House) -> None:
    app = create_app(replace(house.context, database=Untouchable()))  # type: ignore[arg-type]
    async with house.client(app, "") as stranger:
        assert (await stranger.get(f"/o/{'x' * 80}")).status_code == 404


# A link that has died


async def test_two_hundred_readers_of_a_dead_link_are_one_question_and_all_get_the_new_one(
    client: httpx.AsyncClient, anybody: httpx.AsyncClient, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "WAIT_SECONDS", 60.0)
    task_id = await made(house, client)
    house.clock.advance(3600)
    readers = [asyncio.create_task(anybody.get(link(house, task_id))) for _ in range(200)]
    await until(lambda: house.context.watch.waiting > 0)
    assert (await bells(house), house.context.watch.waiting) == (1, 1)
    await answers(house, task_id, Claim.SUCCEEDED, RENEWED)
    got = await asyncio.gather(*readers)
    assert {(one.status_code, one.headers["location"]) for one in got} == {(302, RENEWED)}
    assert await bells(house) == 1
    shown = (await client.get(f"/v1/tasks/{task_id}")).json()
    assert [output["url"] for output in shown["outputs"]] == [RENEWED]
    timeline = (await client.get(f"/v1/tasks/{task_id}/timeline")).json()["data"]
    assert timeline[-1]["message"].startswith("Somebody wanted the output, and cloudsway gave a new link to it.")


async def test_a_reader_who_leaves_takes_no_answer_from_the_others(
    client: httpx.AsyncClient, anybody: httpx.AsyncClient, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "WAIT_SECONDS", 60.0)
    task_id = await made(house, client)
    house.clock.advance(3600)
    first, second = (asyncio.create_task(anybody.get(link(house, task_id))) for _ in range(2))
    await until(lambda: house.context.watch.waiting > 0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await answers(house, task_id, Claim.SUCCEEDED, RENEWED)
    assert (await second).headers["location"] == RENEWED


class Late(Flaky):
    """A database that keeps back the first answer it gives, until it is let go."""

    def __init__(self, inner: Database) -> None:
        super().__init__(inner)
        self.held, self.go = asyncio.Event(), asyncio.Event()

    async def read(self, unit: Unit[Any], /) -> Any:
        found = await super().read(unit)
        if not self.held.is_set():
            self.held.set()
            await self.go.wait()
        return found


async def test_a_reader_who_looked_before_another_got_the_new_link_gets_it_too(
    client: httpx.AsyncClient, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "WAIT_SECONDS", 60.0)
    task_id = await made(house, client)
    house.clock.advance(3600)
    database = Late(house.context.database)
    app = create_app(replace(house.context, database=database))
    async with house.client(app, "") as anybody:
        late = asyncio.create_task(anybody.get(link(house, task_id)))
        await database.held.wait()
        quick = asyncio.create_task(anybody.get(link(house, task_id)))
        await until(lambda: house.context.watch.waiting > 0)
        await answers(house, task_id, Claim.SUCCEEDED, RENEWED)
        assert (await quick).headers["location"] == RENEWED
        database.go.set()
        assert (await late).headers["location"] == RENEWED
    assert await bells(house) == 1


async def test_a_provider_that_does_not_answer_in_time_is_a_503_and_is_rung_for_once(
    client: httpx.AsyncClient, anybody: httpx.AsyncClient, house: House
) -> None:
    task_id = await made(house, client)
    house.clock.advance(3600)
    for waited in (30, 20, 10):
        answer = await anybody.get(link(house, task_id))
        assert (answer.status_code, answer.json()["code"]) == (503, "output_unavailable")
        assert answer.headers["retry-after"] == str(waited)
        assert VIDEO not in answer.text
        house.clock.advance(10)
    assert await bells(house) == 1
    await anybody.get(link(house, task_id))
    assert await bells(house) == 2, "whoever comes back later is a new reason to ask"


async def test_an_output_that_its_provider_has_deleted_is_gone_and_nobody_is_asked_again(
    client: httpx.AsyncClient, anybody: httpx.AsyncClient, house: House
) -> None:
    task_id = await made(house, client)
    house.clock.advance(3600)
    for _ in range(3):
        assert (await anybody.get(link(house, task_id))).status_code == 503
        await answers(house, task_id, Claim.ABSENT)
        house.clock.advance(30)
    rung = await bells(house)
    answer = await anybody.get(link(house, task_id))
    house.clock.advance(DAY / SECOND)
    assert (await anybody.head(link(house, task_id))).status_code == 410
    assert (answer.status_code, answer.json()["code"]) == (410, "output_gone")
    assert await bells(house) == rung
    shown = (await client.get(f"/v1/tasks/{task_id}")).json()
    assert (shown["status"], shown["outputs"][0]["url"]) == ("succeeded", VIDEO)


async def test_a_link_of_no_known_end_serves_while_nothing_better_is_known(
    client: httpx.AsyncClient, anybody: httpx.AsyncClient, house: House
) -> None:
    task_id = await made(house, client, expires_in=None)
    for days, rung in ((0.5, 0), (0.5, 1), (0.001, 1), (0.01, 2)):
        house.clock.advance(days * DAY / SECOND)
        answer = await anybody.get(link(house, task_id))
        assert (answer.status_code, answer.headers["location"], await bells(house)) == (302, VIDEO, rung)


# Who cannot be asked


async def troubled(house: House, **fields: object) -> None:
    """The account's lane as its owner left it."""

    async def unit(tx: Connection) -> None:
        await lanes.arrive(tx, {(LaneKind.ACCOUNT, "cloudsway"): house.clock()})
        for name, value in fields.items():
            await tx.fetch(f"UPDATE lanes SET {name} = :value", {"value": value})  # noqa: S608 (names of ours)

    await house.context.database.write(unit)


async def test_an_account_with_an_open_breaker_says_so_at_once_and_when_to_come_back(
    client: httpx.AsyncClient, anybody: httpx.AsyncClient, house: House
) -> None:
    task_id = await made(house, client)
    house.clock.advance(3600)
    probe_at = house.clock() + 90 * SECOND
    await troubled(house, breaker=f'{{"probe_at":{probe_at},"probes":1}}')
    answer = await anybody.get(link(house, task_id))
    assert (answer.status_code, answer.headers["retry-after"], await bells(house)) == (503, "90", 0)
    assert "keeps failing" in answer.json()["detail"]


async def test_an_account_that_a_person_paused_still_renews_links(
    client: httpx.AsyncClient, anybody: httpx.AsyncClient, house: House
) -> None:
    """A pause stops purchases, and this buys nothing."""
    task_id = await made(house, client)
    house.clock.advance(3600)
    await troubled(house, care=f'{{"paused_at":{house.clock()}}}')
    await anybody.get(link(house, task_id))
    assert await bells(house) == 1


async def test_an_account_that_is_no_longer_configured_says_so(client: httpx.AsyncClient, house: House) -> None:
    task_id = await made(house, client)
    house.clock.advance(3600)
    async with house.client(create_app(replace(house.context, accounts={})), "") as anybody:
        answer = await anybody.get(link(house, task_id))
    assert (answer.status_code, await bells(house)) == (503, 0)
    assert "no longer configured" in answer.json()["detail"]


async def test_too_many_questions_at_once_are_refused_and_cost_the_database_nothing(
    client: httpx.AsyncClient, anybody: httpx.AsyncClient, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "ASKING_AT_ONCE", 0)
    task_id = await made(house, client)
    house.clock.advance(3600)
    answer = await anybody.get(link(house, task_id))
    assert (answer.status_code, answer.headers["retry-after"], await bells(house)) == (503, "1", 0)
