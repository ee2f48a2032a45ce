"""What is counted and logged of a request: its route, never its path."""

from __future__ import annotations

import logging
from dataclasses import replace

import httpx
import pytest

from service.api.access import Access
from service.api.app import Api, create_app
from service.telemetry import context
from tests.counters import counted
from tests.service.api.house import House, order

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    found = [record for record in caplog.records if record.name == "taskrelay.access"]
    return [{**fact, "level": record.levelname} for record in found for fact in getattr(record, "facts", ())]


def ours(caplog: pytest.LogCaptureFixture) -> str:
    """All that we wrote; the client of these tests logs its own URLs."""
    return repr([vars(record) for record in caplog.records if record.name.startswith("taskrelay")])


async def test_a_request_is_one_line_with_its_route_and_whose_it_is(
    house: House, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    answer = await client.get("/v1/tasks/task_00000000000000000000000000?x=c4n4ry", headers={"user-agent": "c4n4ry"})
    assert answer.status_code in (404, 422)
    (line,) = lines(caplog)
    assert line["request_id"] == answer.headers["x-request-id"]
    assert line["project"] == house.project_id
    assert str(line["key"]).startswith("key_")
    assert (line["method"], line["route"], line["status"]) == ("GET", "/v1/tasks/{id}", answer.status_code)
    assert line["problem"] == answer.json()["code"]
    assert "c4n4ry" not in ours(caplog)


@pytest.mark.parametrize("path", ["/v1/tasks/%0a%1b[31m", "/o/c4n4ry", "/c4n4ry%0d%0ax", "/v1/c4n4ry"])
async def test_whatever_the_path_is_the_line_has_a_template_or_none(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    caplog.set_level(logging.DEBUG, "taskrelay")
    await client.get(path)
    (line,) = lines(caplog)
    assert line["route"] in ("/v1/tasks/{id}", "/o/{token}", "none")
    assert "c4n4ry" not in ours(caplog)


async def test_probes_are_lines_only_in_detail(house: House, app: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with house.client(app, "") as anybody:
        await anybody.get("/livez")
        await anybody.get("/metrics")
    assert [(line["route"], line["level"]) for line in lines(caplog)] == [("/livez", "DEBUG"), ("/metrics", "INFO")]


async def test_the_access_log_can_be_off_and_requests_are_counted_all_the_same(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    quiet = create_app(replace(house.context, access_log=False))
    with (
        counted("http_requests_total", method="GET", route="/v1/whoami", status="2xx") as answered,
        counted("http_request_seconds_count", route="/v1/whoami") as timed,
    ):
        async with house.client(quiet, house.key) as client:
            await client.get("/v1/whoami")
        assert (answered(), timed()) == (1, 1)
    assert lines(caplog) == []


async def test_a_refused_request_is_counted_by_its_code(house: House, app: Api) -> None:
    with counted("http_problems_total", code="unauthorized") as refused:
        async with house.client(app, "") as anybody:
            await anybody.get("/v1/tasks")
        assert refused() == 1


async def test_a_method_nobody_knows_does_not_make_a_label(client: httpx.AsyncClient) -> None:
    with counted("http_requests_total", method="other", route="/v1/tasks", status="4xx") as answered:
        await client.request("BREW", "/v1/tasks")
        assert answered() == 1


async def test_a_line_below_the_interface_carries_the_request(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    answer = await client.post("/v1/tasks", json=order())
    told = [
        fact for record in caplog.records for fact in getattr(record, "facts", ()) if fact["text"] == "task created"
    ]
    assert [one["request_id"] for one in told] == [answer.headers["x-request-id"]]
    assert [one["task"] for one in told] == [answer.json()["id"]]
    assert context.current() is None


@pytest.mark.parametrize(
    ("stated", "kept"),
    [
        ([TRACE], TRACE),
        ([], None),
        ([TRACE, TRACE], None),
        (["00-" + "0" * 32 + "-00f067aa0ba902b7-01"], None),
        (["c4n4ry"], None),
    ],
)
async def test_the_clients_trace_is_kept_with_the_task_if_it_is_one(
    house: House, client: httpx.AsyncClient, stated: list[str], kept: str | None
) -> None:
    headers = [("traceparent", one) for one in stated]
    made = await client.post("/v1/tasks", json=order(), headers=headers)
    rows = await house.context.database.read(
        lambda tx: tx.fetch("SELECT traceparent FROM tasks WHERE id = :id", {"id": made.json()["id"]})
    )
    assert rows == [(kept,)]


async def test_without_an_answer_the_client_went_away() -> None:
    with counted("http_requests_total", method="GET", route="/v1/events/stream", status="4xx") as gone:
        access = Access({"type": "http", "method": "GET", "headers": []}, "req_1")
        access.ended("/v1/events/stream", told=True)
        assert gone() == 1
    assert context.current() is None
