from __future__ import annotations

from typing import Any

import httpx
import pytest

from service.api.openapi import created
from service.providers.registry import PROVIDERS
from tests.service.api import witness
from tests.service.api.house import order

MODELS = [created.name_of(provider, model) for provider, model in created.models()]
BODY = {"$ref": "#/components/schemas/TaskCreate"}


def test_every_model_of_every_contract_is_described() -> None:
    assert len(MODELS) == sum(len(provider.models) for provider in PROVIDERS.values())
    assert {f"TaskCreate.{name}" for name in MODELS} <= created.SCHEMAS.keys()


@pytest.mark.parametrize("name", MODELS)
def test_what_a_model_takes_is_the_table_that_judges(name: str) -> None:
    provider, _, model = name.partition(".")
    schema = created.SCHEMAS[f"Input.{name}"]
    assert set(schema["properties"]) == PROVIDERS[provider].models[model].inputs
    assert schema["additionalProperties"] is False


CASES: list[tuple[dict[str, Any], bool]] = [
    (order(), True),
    (order(input={"prompt": "x", "duration": 15}), True),
    (order(input={"prompt": "x", "duration": 16}), False),
    (order(input={"prompt": "x", "cfg_scale": 0.5}), False),  # this contract lacks it
    (order(webhook_events=["task.*"], webhook_url="https://app.example.org/x"), True),
    (order(webhook_events=["task.done"], webhook_url="https://app.example.org/x"), False),
    (order(deadline_seconds=59), False),
    (order(callback_url="https://evil.example/"), False),
    (order(model="kling-9"), False),
    ({"account": "cloudsway", "model": "kling-3.0-turbo", "input": {"prompt": "x"}}, True),
    ({"model": "kling-3.0-turbo", "input": {"prompt": "x"}}, False),
    (order(account="cloudsway"), False),
    (order(fallbacks=[{"account": "ulazai", "model": "kling-3.0"}]), True),
    (order(fallbacks=[{"model": "kling-3.0"}]), False),
]


async def test_the_schema_and_the_service_say_the_same(client: httpx.AsyncClient) -> None:
    for body, good in CASES:
        assert (witness.wrong(BODY, body, strict=False) == []) == good
        answer = await client.post("/v1/tasks", json=body)
        assert answer.status_code == (202 if good else 422), body
