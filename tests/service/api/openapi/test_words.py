from __future__ import annotations

from service.api.openapi import words
from tests.service.api import witness


def test_a_request_with_a_member_that_is_not_there_is_not_valid() -> None:
    schema = words.closed("A thing.", {"name": {"type": "string"}}, needed=("name",))
    assert witness.wrong(schema, {"name": "x"}, strict=False) == []
    assert witness.wrong(schema, {"name": "x", "nmae": "y"}, strict=False)
    assert witness.wrong(schema, {}, strict=False)


def test_a_schema_or_null_keeps_what_it_is_about() -> None:
    schema = words.or_null({"type": "integer", "minimum": 1, "description": "How many."})
    assert schema["description"] == "How many."
    assert [bool(witness.wrong(schema, value, strict=False)) for value in (None, 1, 0)] == [False, False, True]


def test_a_parameter_says_what_it_is_about_once() -> None:
    parameter = words.query("limit", words.within("How many.", 1, 200, 50))
    assert parameter["description"] == "How many." and "description" not in parameter["schema"]
    assert (parameter["in"], parameter["required"]) == ("query", False)
    assert words.in_path("id", {"type": "string"})["required"] is True


def test_a_page_may_have_more_than_a_page_has() -> None:
    schema = words.listed({"type": "string"}, more={"since": {"type": "string"}})
    page = {"object": "list", "data": ["x"], "has_more": False, "next": None}
    assert witness.wrong(schema, {**page, "since": "y"}, strict=True) == []
    assert witness.wrong(schema, page, strict=True)
