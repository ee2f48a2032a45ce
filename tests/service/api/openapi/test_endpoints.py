from __future__ import annotations

from typing import Any

import httpx

from service.api import subscription
from service.api.openapi import endpoints
from tests.service.api import witness

CREATE = {"$ref": "#/components/schemas/EndpointCreate"}
URL = "https://app.example.org/hooks/done"


def test_the_members_are_those_that_are_read() -> None:
    assert set(endpoints.SUBSCRIPTION) == set(subscription.MEMBERS)


CASES: list[tuple[dict[str, Any], bool]] = [
    ({"url": URL}, True),
    ({}, False),
    ({"url": URL, "events": ["task.*"]}, True),
    ({"url": URL, "events": []}, False),
    ({"url": URL, "events": ["task.done"]}, False),
    ({"url": URL, "filter": {"model": ["kling-*"], "metadata": {"shop": "eu-*"}}}, True),
    ({"url": URL, "filter": {"status": "x"}}, False),
    ({"url": URL, "max_in_flight": 65}, False),
    ({"url": URL, "rate_limit": None}, True),
    ({"url": URL, "retry_schedule": [1, 2]}, True),
    ({"url": URL, "retry_schedule": [0]}, False),
    ({"url": URL, "signatures": ["v1", "v1a"]}, True),
    ({"url": URL, "signatures": ["v2"]}, False),
    ({"url": URL, "headers": {"x-shop": "eu"}}, True),
    ({"url": URL, "secret": "whsec_short"}, False),
    ({"url": URL, "format": "cloudevents"}, True),
    ({"url": URL, "colour": "red"}, False),
]


async def test_the_schema_and_the_service_say_the_same(client: httpx.AsyncClient) -> None:
    for body, good in CASES:
        assert (
            witness.wrong(CREATE, body, strict=False) == []
        ) == good or "secret" in body  # how long it is decoded, no pattern says
        answer = await client.post("/v1/endpoints", json=body)
        assert answer.status_code == (201 if good else 422), body
        if good:
            await client.delete(f"/v1/endpoints/{answer.json()['id']}")  # there may be three
