from __future__ import annotations

from typing import Any

import httpx

from service.api.openapi import tenants
from service.pipeline.keys import SCOPES
from tests.service.api import witness

BUDGET = {"amount": "50.00", "currency": "USD", "period": "month"}
CASES: list[tuple[dict[str, Any], bool]] = [
    ({"name": "shop"}, True),
    ({}, False),
    ({"name": ""}, False),
    ({"name": "shop", "on_ambiguous": "hold"}, True),
    ({"name": "shop", "on_ambiguous": "hold", "possible_double_charge": True}, False),
    ({"name": "shop", "on_ambiguous": "resubmit"}, False),
    ({"name": "shop", "on_ambiguous": "resubmit", "possible_double_charge": True}, True),
    ({"name": "shop", "possible_double_charge": True}, False),
    ({"name": "shop", "colour": "red"}, False),
]


async def test_the_schema_and_the_service_say_the_same(client: httpx.AsyncClient) -> None:
    for number, (body, good) in enumerate(CASES):
        body = {**body, "name": f"shop {number}"} if body.get("name") else body
        assert (witness.wrong({"$ref": "#/components/schemas/ProjectCreate"}, body, strict=False) == []) == good
        answer = await client.post("/v1/projects", json=body)
        assert answer.status_code == (201 if good else 422), body


def test_a_key_is_made_with_scopes_that_there_are() -> None:
    assert tenants.SCHEMAS["KeyCreate"]["properties"]["scopes"]["items"]["enum"] == list(SCOPES)


def test_a_secret_is_shown_where_it_is_made_and_nowhere_else() -> None:
    with_secret = {
        name for name, schema in tenants.SCHEMAS.items() if {"key", "webhook_secret"} & set(schema["properties"])
    }
    assert with_secret == {"KeyMade", "ProjectMade", "ProjectRotated"}
