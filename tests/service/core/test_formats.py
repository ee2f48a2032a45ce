from __future__ import annotations

import orjson
import pytest

from service.core.formats import render
from storage.records import EndpointFormat

BODY = orjson.dumps(
    {
        "id": "evt_1",
        "type": "task.succeeded",
        "timestamp": "2026-11-20T22:35:22.824695Z",
        "data": {"id": "task_1", "output_url": "https://x.example/ü"},
    }
)


def test_the_standard_format_is_the_stored_bytes() -> None:
    assert render(EndpointFormat.STANDARD, BODY) is BODY


def test_a_cloudevent_has_what_the_specification_requires() -> None:
    assert orjson.loads(render(EndpointFormat.CLOUDEVENTS, BODY)) == {
        "specversion": "1.0",
        "id": "evt_1",
        "source": "taskrelay",
        "type": "task.succeeded",
        "subject": "task_1",
        "time": "2026-11-20T22:35:22.824695Z",
        "datacontenttype": "application/json",
        "data": {"id": "task_1", "output_url": "https://x.example/ü"},
    }


@pytest.mark.parametrize(
    ("type", "told"),
    [
        ("task.succeeded", "video.completed"),
        ("task.expired", "video.failed"),
        ("task.processing", "task.processing"),
    ],
)
def test_openais_shape_names_the_ends_in_its_words(type: str, told: str) -> None:
    body = orjson.dumps({**orjson.loads(BODY), "type": type})
    assert orjson.loads(render(EndpointFormat.OPENAI, body)) == {
        "id": "evt_1",
        "object": "event",
        "type": told,
        "created_at": 1795214122,
        "timestamp": "2026-11-20T22:35:22.824695Z",
        "data": {"id": "task_1"},
    }


@pytest.mark.parametrize("format", EndpointFormat)
def test_every_attempt_gets_the_same_bytes_and_a_test_stays_marked(format: EndpointFormat) -> None:
    marked = orjson.dumps({**orjson.loads(BODY), "test": True})
    assert render(format, marked) == render(format, marked)
    assert orjson.loads(render(format, marked))["test"] is True


@pytest.mark.parametrize("body", [b"{", b"{}", b"[]", b'{"id":"a","type":"b","timestamp":"never","data":{"id":"c"}}'])
def test_what_is_no_event_is_refused_and_not_guessed_at(body: bytes) -> None:
    with pytest.raises((ValueError, LookupError, TypeError)):
        render(EndpointFormat.OPENAI, body)


@pytest.mark.parametrize("format", [EndpointFormat.CLOUDEVENTS, EndpointFormat.OPENAI])
def test_an_account_is_named_by_its_name(format: EndpointFormat) -> None:
    told = {
        "id": "evt_1",
        "type": "account.paused",
        "timestamp": "2026-11-20T22:35:22.824695Z",
        "data": {"name": "main"},
    }
    shaped = orjson.loads(render(format, orjson.dumps(told)))
    assert "main" in (shaped.get("subject"), shaped["data"].get("id"))
