from __future__ import annotations

import orjson
import pytest

from service.api.openapi import errors
from service.api.openapi.words import Answer, Body, Operation
from service.api.problems import CODES, Problem, render
from tests.service.api import witness

PLAIN = Operation(id="x", tag="x", summary="x", answers={200: Answer(about="x")}, codes=("not_found",))


def codes(operation: Operation, *, keyed: bool = False, scoped: bool = False, repeatable: bool = False) -> list[str]:
    return errors.codes_of(operation, keyed=keyed, scoped=scoped, repeatable=repeatable)


@pytest.mark.parametrize("code", CODES)
def test_what_a_client_gets_is_what_the_schema_says(code: str) -> None:
    body = orjson.loads(render(Problem(code, "What is wrong."), "req_01M7Z0000000000000000000AA", "").body)
    assert witness.wrong(errors.PROBLEM, body, strict=False) == []


def test_without_a_key_nobody_is_refused_for_one() -> None:
    assert codes(PLAIN) == [
        "malformed_request",
        "not_found",
        "too_slow",
        "too_many_connections",
        "internal",
        "unavailable",
    ]
    assert {"unauthorized", "rate_limited", "invalid"} <= set(codes(PLAIN, keyed=True))


def test_a_scope_is_missed_only_where_a_key_may_lack_it() -> None:
    assert "missing_scope" not in codes(PLAIN, keyed=True)
    assert "missing_scope" in codes(PLAIN, keyed=True, scoped=True)


@pytest.mark.parametrize(
    ("media_type", "code"), [("application/json", "malformed_json"), ("multipart/form-data", "malformed_form")]
)
def test_what_has_a_body_may_be_refused_for_it(media_type: str, code: str) -> None:
    body = Body(schema={}, media_type=media_type)
    operation = Operation(id="x", tag="x", summary="x", body=body, answers={})
    assert {code, "too_large", "unsupported_media_type"} <= set(codes(operation))
    assert code not in codes(PLAIN)


def test_what_may_be_asked_again_may_meet_itself() -> None:
    assert set(errors.REPEATABLE) <= set(codes(PLAIN, keyed=True, repeatable=True))


def test_codes_of_one_status_are_one_answer() -> None:
    assert errors.by_status(["reference_taken", "cannot_cancel", "not_found"]) == {
        409: ["reference_taken", "cannot_cancel"],
        404: ["not_found"],
    }
    answer = errors.response(["reference_taken", "cannot_cancel"], "Problem")
    schema = answer["content"]["application/problem+json"]["schema"]
    assert schema["properties"] == {"code": {"enum": ["reference_taken", "cannot_cancel"]}, "status": {"const": 409}}
    assert "x-should-retry" in answer["headers"]


def test_who_is_told_to_come_back_is_told_when() -> None:
    assert "Retry-After" in errors.response(["unavailable"], "Problem")["headers"]
    assert "Retry-After" not in errors.response(["not_found"], "Problem")["headers"]
