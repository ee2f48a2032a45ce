from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TypeVar

import httpx
import pytest

from service.api import public
from service.api.app import Api, create_app
from storage.database import Database, Unit
from storage.errors import Busy, Full, StorageError, Unavailable
from tests.service.api.house import House, order
from tests.service.pipeline.parties import Wrapped

T = TypeVar("T")


async def test_the_root_points_to_the_documentation(house: House, app: Api) -> None:
    async with house.client(app, "") as anybody:
        told = (await anybody.get("/")).json()
    assert (told["name"], told["problems"]) == ("taskrelay", "https://relay.example.org/docs/problems")


async def test_alive_needs_no_database(house: House, app: Api) -> None:
    async with house.client(app, "") as anybody:
        assert (await anybody.get("/livez")).json() == {"status": "ok"}


class Counting(Wrapped):
    """Counts writes, and can be out of order."""

    def __init__(self, inner: Database) -> None:
        super().__init__(inner)
        self.writes = 0
        self.error: Exception | None = None

    async def write(self, unit: Unit[T], /) -> T:
        self.writes += 1
        if self.error is not None:
            raise self.error
        return await super().write(unit)


class Refusing:
    """A recorder with no room."""

    def submit(self, seen: object) -> None:
        raise Full("/secret")


async def test_readiness_is_a_write_shared_by_all_who_ask_within_a_second(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert public.READY_FOR_SECONDS == 1.0
    monkeypatch.setattr(public, "READY_FOR_SECONDS", 3600.0)
    database = Counting(house.context.database)
    async with house.client(create_app(replace(house.context, database=database)), "") as anybody:
        answers = await asyncio.gather(*(anybody.get("/readyz") for _ in range(20)))
        answers.append(await anybody.get("/readyz"))
    assert {answer.status_code for answer in answers} == {200}
    assert database.writes == 1


@pytest.mark.parametrize(
    ("error", "told"),
    [(Full("/secret"), "disk"), (Busy("/secret"), "Another process"), (StorageError("/secret"), "database")],
)
async def test_readiness_says_why_and_mends_by_itself(
    house: House, monkeypatch: pytest.MonkeyPatch, error: StorageError, told: str
) -> None:
    monkeypatch.setattr(public, "READY_FOR_SECONDS", 0.0)
    database = Counting(house.context.database)
    database.error = error
    async with house.client(create_app(replace(house.context, database=database)), "") as anybody:
        refused = await anybody.get("/readyz")
        database.error = None
        mended = await anybody.get("/readyz")
    assert refused.status_code == 503 and told in refused.json()["detail"] and "/secret" not in refused.text
    assert mended.status_code == 200


@pytest.mark.parametrize("path", ["/v1/tasks", "/callbacks/cloudsway/"])
async def test_a_disk_too_full_for_a_task_is_told_although_a_probe_fits(house: House, path: str) -> None:
    database = Counting(house.context.database)
    recorder = replace(house.context, database=database, recorder=Refusing())  # type: ignore[arg-type]
    if path.endswith("/"):
        path += house.context.tokens.callback("cloudsway", "sub_00000000000000000000000000")
    async with house.client(create_app(recorder), house.key) as client:
        assert (await client.get("/readyz")).status_code == 200
        database.error = Full("/secret")
        assert (await client.post(path, json=order())).status_code == 503
        database.error = None
        assert (await client.get("/readyz")).json()["detail"] == public.DISK_FULL


async def test_without_a_writable_database_nobody_is_sent_here_and_nothing_is_told(house: House) -> None:
    database = Counting(house.context.database)
    database.error = Unavailable("disk full: /secret/path")
    async with house.client(create_app(replace(house.context, database=database)), house.key) as client:
        ready = await client.get("/readyz")
        created = await client.post("/v1/tasks", json=order())
    for answer in (ready, created):
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["retry-after"] == "1" and "/secret/path" not in answer.text


@pytest.mark.parametrize("path", ["/v1/tasks/", "/V1/tasks", "/v1", "/v1/nothing", "//evil.example/", "/callback/x"])
async def test_an_unknown_path_is_a_problem_and_never_a_redirect(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"http://anything.test{path}", headers={"host": "evil.example"})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "evil.example" not in answer.text + str(answer.headers)


async def test_a_method_a_path_does_not_take_is_told_those_it_takes(client: httpx.AsyncClient) -> None:
    answer = await client.put("/v1/tasks", json={})
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}


async def test_the_type_of_every_problem_leads_to_a_page(client: httpx.AsyncClient) -> None:
    refused = (await client.get("/v1/nothing")).json()
    page = await client.get("/docs/problems")
    anchor = refused["type"].partition("#")[2]
    assert refused["type"].startswith("https://relay.example.org/docs/problems#")
    assert (page.status_code, page.headers["content-security-policy"]) == (200, "default-src 'none'")
    assert f'id="{anchor}"' in page.text
