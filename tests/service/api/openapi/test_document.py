from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from service.api.app import OPEN_ROWS, ROUTES
from service.api.openapi import document as made
from service.api.problems import CODES
from service.core.events import EventType
from service.pipeline.keys import SCOPES
from tests.service.api import witness

# The published schema of OpenAPI 3.1 documents, https://spec.openapis.org/oas/3.1/schema/2022-10-07, as a tester ships it.
META = importlib.import_module("schemathesis.specs.openapi.definitions").OPENAPI_31

# What is only said to clients that speak OpenAI's dialect, which is not described here.
OPENAIS = {"endpoint_unreachable", "invalid_request", "not_offered", "output_not_ready"}


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        yield from ((f"{method.upper()} {path}", operation) for method, operation in methods.items())


def walked(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in it."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walked(inner)


def test_every_route_is_one_operation_and_every_operation_a_route() -> None:
    rows = [(method, path) for method, path, _, _ in ROUTES] + [(method, path) for method, path, _ in OPEN_ROWS]
    assert sorted(rows) == sorted(made.OPERATIONS)
    assert len(set(rows)) == len(rows)


def test_the_document_is_openapi_3_1(document: dict[str, Any]) -> None:
    found = jsonschema_rs.Draft202012Validator(META).iter_errors(document)
    assert [(list(error.instance_path), error.message[:200]) for error in found] == []


def test_a_document_with_a_mistake_is_not(document: dict[str, Any]) -> None:
    assert not jsonschema_rs.Draft202012Validator(META).is_valid({**document, "paths": {"v1": {}}})


def test_every_schema_is_one(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        assert jsonschema_rs.meta.is_valid({"$schema": made.JSON_SCHEMA, **schema}), name


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for one in walked(document):
        if isinstance(one.get("$ref"), str):
            found: Any = document
            for part in one["$ref"].removeprefix("#/").split("/"):
                assert part in found, one["$ref"]
                found = found[part]


def test_nothing_stands_among_the_components_that_nobody_names(document: dict[str, Any]) -> None:
    named = {one["$ref"] for one in walked(document) if isinstance(one.get("$ref"), str)}
    unnamed = [
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "responses", "examples", "headers")
        for name in document["components"][kind]
        if f"#/components/{kind}/{name}" not in named
    ]
    # Headers that are always there are written out where they stand.
    assert [name for name in unnamed if "/headers/" not in name] == []


def test_no_schema_is_a_bare_word_that_generators_take_for_none(document: dict[str, Any]) -> None:
    # openapi-python-client 0.29 makes no client at all of a document with one.
    inner = [one["properties"] for one in walked(document) if isinstance(one.get("properties"), dict)]
    assert [name for members in inner for name, schema in members.items() if not isinstance(schema, dict)] == []
    # And of a constant that is no text and may be missing it writes `Trueand`.
    odd = [
        f"{name}.{member}"
        for name, schema in document["components"]["schemas"].items()
        for member, one in (schema.get("properties", {}) if "oneOf" not in schema else {}).items()
        if member not in schema.get("required", ()) and not isinstance(one.get("const", ""), str)
    ]
    assert odd == []


def test_what_generators_name_by_schema_and_member_has_no_schemas_name(document: dict[str, Any]) -> None:
    # `type` of an Event is an EventType to them; where a schema is called so too, they leave one of the two out.
    schemas = document["components"]["schemas"]
    plain = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in schemas]
    assert len(set(plain)) == len(plain)
    words = [
        f"{name}{member}".replace("_", "").lower()
        for name, schema in schemas.items()
        for member, inner in schema.get("properties", {}).items()
        if any(kind in one for one in walked(inner) for kind in ("enum", "properties"))
    ]
    assert len(words) > 30 and [one for one in words if one in plain] == []


def test_every_operation_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    names += [hook["post"]["operationId"] for hook in document["webhooks"].values()]
    assert len(names) == len(set(names))


def test_what_stands_in_a_path_is_a_parameter(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        stated = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
        assert stated == set(re.findall(r"\{(\w+)\}", name)), name


def test_what_takes_a_key_says_which_scopes_do(document: dict[str, Any]) -> None:
    scopes = {f"{method} {path}": stated for method, path, stated, _ in ROUTES}
    for name, operation in operations(document):
        told = [one["key"][0] for one in operation["security"]]
        if name in scopes:
            assert told == list(dict.fromkeys((*scopes[name], "admin"))) and set(told) <= set(SCOPES), name
            assert "401" in operation["responses"], name


def test_every_code_is_answered_by_some_operation_or_by_the_server_itself(document: dict[str, Any]) -> None:
    told = {
        code
        for answer in document["components"]["responses"].values()
        for content in answer["content"].values()
        for code in content["schema"]["properties"]["code"].get("enum", ())
    }
    assert set(CODES) - told == {"method_not_allowed", *OPENAIS}


def test_every_example_is_what_its_schema_says(document: dict[str, Any]) -> None:
    held = 0
    for one in walked([document["paths"], document["webhooks"], document["components"]["responses"]]):
        if "schema" in one and "examples" in one and isinstance(one["examples"], dict):
            for name, example in one["examples"].items():
                if "$ref" in example:
                    example = document["components"]["examples"][example["$ref"].rpartition("/")[2]]
                assert witness.wrong(one["schema"], example["value"], strict=False) == [], name
                held += 1
    assert held > 100


def test_every_type_of_event_is_a_webhook_in_every_format(document: dict[str, Any]) -> None:
    assert list(document["webhooks"]) == [type.value for type in EventType]
    for hook in document["webhooks"].values():
        content = hook["post"]["requestBody"]["content"]
        assert {media: set(told["examples"]) for media, told in content.items()} == {
            "application/json": {"standard", "openai"},
            "application/cloudevents+json": {"cloudevents"},
        }


@pytest.mark.parametrize("base", ["", "https://relay.example.org"])
def test_links_begin_where_the_installation_is(base: str) -> None:
    document = made.document([("GET", "/livez", ())], base)
    assert document["servers"] == [{"url": base or "/"}]
    assert f"]({base}/docs/problems)" in document["info"]["description"]
    assert list(document["paths"]) == ["/livez"]


def test_a_row_of_another_dialect_is_left_to_whoever_described_that() -> None:
    assert made.document([("POST", "/openai/v1/videos", ("tasks",))], "")["paths"] == {}


def test_requests_are_closed_and_answers_are_open(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name in (
        "TaskCreate.cloudsway.kling-3.0-turbo",
        "EndpointCreate",
        "EndpointChange",
        "KeyCreate",
        "ProjectChange",
    ):
        assert schemas[name]["additionalProperties"] is False, name
    for name in ("Task", "Endpoint", "Delivery", "Key", "Project"):
        assert "additionalProperties" not in schemas[name], name
