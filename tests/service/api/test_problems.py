from __future__ import annotations

import logging

import httpx
import orjson
import pytest

from service.api.app import Api
from service.api.problems import CODES, Problem, of, render
from service.core.request import Fault, Invalid
from storage.errors import Duplicate, Stale, Unavailable
from tests.service.api.house import House, order


def test_one_body_serves_readers_of_problems_and_of_openais_errors() -> None:
    fault = Fault(pointer="/input/prompt", detail="is too long.")
    answer = render(of(Invalid([fault]), ""), "req_1", "https://relay.example.org")
    assert answer.media_type == "application/problem+json"
    assert orjson.loads(answer.body) == {
        "type": "https://relay.example.org/docs/problems#invalid",
        "title": "The request is not valid",
        "status": 422,
        "detail": "/input/prompt is too long.",
        "code": "invalid",
        "errors": [{"pointer": "/input/prompt", "detail": "is too long."}],
        "request_id": "req_1",
        "error": {
            "message": "/input/prompt is too long.",
            "type": "invalid_request_error",
            "param": "input.prompt",
            "code": "invalid",
        },
    }


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unavailable("disk"), "unavailable"),
        (Stale("raced"), "unavailable"),
        (Duplicate("tasks.id"), "internal"),
        (RuntimeError("secret"), "internal"),
    ],
)
def test_what_is_not_the_clients_fault_tells_nothing_of_itself(error: Exception, code: str) -> None:
    problem = of(error, "")
    assert problem.code == code and str(error) not in problem.detail


PASSING = {"idempotency_key_in_use"}  # the first request is answered in a moment, and the second with it


@pytest.mark.parametrize(
    "code", [code for code, kind in CODES.items() if kind.status in (402, 409) and code not in PASSING]
)
def test_a_lasting_conflict_tells_sdks_not_to_try_again(code: str) -> None:
    assert render(Problem(code, "…"), "req_1", "").headers["x-should-retry"] == "false"


def test_a_hundred_faults_are_all_listed_and_ten_are_spelled_out() -> None:
    problem = of(Invalid([Fault(pointer=f"/{n}", detail="wrong.") for n in range(100)]), "")
    assert len(problem.faults) == 100 and problem.detail.count("wrong.") == 10


async def test_a_wrong_path_or_method_is_told_what_would_be_right(client: httpx.AsyncClient) -> None:
    slash, method = await client.get("/v1/tasks/"), await client.put("/v1/tasks", json={})
    assert "without a slash at the end" in slash.json()["detail"]
    assert method.json()["detail"] == "This path takes GET, HEAD, POST."


async def test_every_answer_carries_a_request_id_and_a_problem_repeats_it(client: httpx.AsyncClient) -> None:
    fine, wrong = await client.get("/v1/tasks"), await client.get("/v1/nothing")
    assert fine.headers["x-request-id"].startswith("req_")
    assert wrong.headers["x-request-id"] == wrong.json()["request_id"] != fine.headers["x-request-id"]
    assert fine.headers["x-content-type-options"] == wrong.headers["x-content-type-options"] == "nosniff"


async def test_a_bug_is_a_500_without_detail_and_a_line_in_the_log(
    client: httpx.AsyncClient, house: House, app: Api, caplog: pytest.LogCaptureFixture
) -> None:
    await client.post("/v1/tasks", json=order())
    await house.context.database.write(lambda tx: tx.fetch("UPDATE tasks SET status = 'zz-not-a-status'"))
    with caplog.at_level(logging.ERROR):
        answer = await client.get("/v1/tasks")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "zz-not-a-status" not in answer.text
    assert answer.json()["request_id"] in caplog.text
