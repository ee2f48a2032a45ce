from __future__ import annotations

import pytest

from service.api.openapi import webhooks
from service.core.events import EventType
from storage.records import EndpointFormat
from tests.service.api import witness


@pytest.mark.parametrize("format", EndpointFormat)
@pytest.mark.parametrize("type", EventType)
def test_a_sample_is_what_its_webhook_says(type: EventType, format: EndpointFormat) -> None:
    body = webhooks.example(type, format, "https://relay.example.org")
    assert witness.wrong(webhooks.body(type, format), body, strict=True) == []


def test_a_task_that_ended_otherwise_is_another_event() -> None:
    body = webhooks.example(EventType.TASK_FAILED, EndpointFormat.STANDARD, "")
    assert isinstance(body, dict)
    told = {**body, "type": "task.succeeded"}
    assert witness.wrong(webhooks.body(EventType.TASK_SUCCEEDED, EndpointFormat.STANDARD), told, strict=True)


def test_what_receivers_verify_with_is_told() -> None:
    hook = webhooks.webhook(EventType.TASK_SUCCEEDED, "")["post"]
    names = [one["name"] for one in hook["parameters"] if one["required"]]
    assert names[:3] == ["webhook-id", "webhook-timestamp", "webhook-signature"]
    assert set(hook["responses"]) == {"2XX", "410", "default"}
