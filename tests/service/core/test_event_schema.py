"""Whatever is rendered is as its schema says, and everything in it is described."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.core import events, samples
from service.core.care import Cause, Pause
from service.core.erasing import body_left
from service.core.event_schema import ACCOUNT_TOLD, DIALECT, ENDPOINT_TOLD, event_schema
from service.core.event_types import CATALOGUE, subject
from service.core.events import EventType
from storage.records import Endpoint, EndpointFormat, Output, Surplus, Task, evolve
from tests.service.core.builders import ALL, SHOWS
from tests.service.core.schemas import faults, undescribed
from tests.storage.strategies import DECIMAL, INTEGER, TEXT, rows

URL = "https://relay.example.org"
NOW = 1_795_209_000_123_456
TASK_TYPES = [type for type in EventType if subject(type) == "task"]
PAIRS = st.dictionaries(TEXT, TEXT, max_size=3).map(lambda pairs: orjson.dumps(pairs).decode())
FEW = settings(max_examples=40, deadline=None)


def rendered(type: EventType, task: Task, output_url: str | None = None) -> bytes:
    view = events.task_view(task, public_url=URL, output_url=output_url)
    return events.render_task_event("evt_1", type, NOW, view)


@FEW
@given(
    task=rows(Task, input=PAIRS, metadata=PAIRS, cost_charged=st.none() | DECIMAL),
    type=st.sampled_from(TASK_TYPES),
    output_url=st.none() | TEXT,
)
def test_every_event_of_a_task_is_as_its_schema_says(task: Task, type: EventType, output_url: str | None) -> None:
    task = evolve(task, status=CATALOGUE[type].status or task.status)
    assert faults(rendered(type, task, output_url)) == []


@FEW
@given(
    endpoint=rows(Endpoint, url=st.just("https://user@example.com:8443/path?secret=1")),
    type=st.sampled_from(sorted(ENDPOINT_TOLD)),
)
def test_every_event_of_an_endpoint_is_as_its_schema_says(endpoint: Endpoint, type: EventType) -> None:
    told = {
        name: orjson.loads(samples.sample(type, id="", now=NOW, public_url=URL))["data"][name]
        for name in ENDPOINT_TOLD[type]
    }
    view = {**events.endpoint_view(endpoint, public_url=URL), **told}
    assert faults(events.render_event("evt_1", type, NOW, view)) == []


@FEW
@given(
    pauses=st.dictionaries(st.sampled_from(Cause), rows(Pause, since=INTEGER)),
    silent=st.none() | INTEGER,
    type=st.sampled_from(sorted(ACCOUNT_TOLD)),
)
def test_every_event_of_an_account_is_as_its_schema_says(
    pauses: dict[Cause, Pause], silent: int | None, type: EventType
) -> None:
    told: dict[str, object] = {"cause": Cause.PERSON} if "cause" in ACCOUNT_TOLD[type] else {"ends_without_push": 5}
    view = events.account_view("main", "cloudsway", pauses=pauses, silent_since=silent, public_url=URL)
    assert faults(events.render_event("evt_1", type, NOW, {**view, **told})) == []


def test_what_was_left_out_for_its_size_is_as_the_schema_says() -> None:
    task = evolve(ALL[-1], metadata=orjson.dumps({"a": "x" * events.MAX_BYTES}).decode())
    body = rendered(EventType.TASK_EXPIRED, task)
    assert orjson.loads(body)["data"]["truncated"] is True
    assert faults(body) == []


def test_what_is_left_of_an_erased_event_is_as_the_schema_says() -> None:
    for type in (EventType.TASK_FAILED, EventType.TASK_SUCCEEDED):
        body = body_left(samples.sample(type, id="evt_1", now=NOW, public_url=URL), NOW)
        assert orjson.loads(body)["data"]["erased_at"] and faults(body) == []


@pytest.mark.parametrize("type", EventType)
def test_a_sample_is_as_its_schema_says_and_says_that_it_is_one(type: EventType) -> None:
    body = samples.sample(type, id="evt_1", now=NOW, public_url=URL)
    assert faults(body) == []
    assert orjson.loads(body)["test"] is True


@pytest.mark.parametrize("type", EventType)
@pytest.mark.parametrize("format", EndpointFormat)
def test_a_schema_says_what_it_is_of_and_forbids_no_further_member(type: EventType, format: EndpointFormat) -> None:
    schema = event_schema(type, format)
    assert (schema["$schema"], schema["title"]) == (DIALECT, type.value)
    closed = re.compile(r'"additionalProperties":\s*false')
    assert not closed.search(orjson.dumps(schema).decode())


def test_a_body_of_another_type_or_with_a_member_missing_is_refused() -> None:
    event: dict[str, Any] = orjson.loads(samples.sample(EventType.TASK_FAILED, id="evt_1", now=NOW, public_url=URL))
    for wrong in (
        {**event, "type": "task.succeeded"},
        {**event, "data": {**event["data"], "error": {**event["data"]["error"], "code": "bad luck"}}},
        {**event, "data": {name: value for name, value in event["data"].items() if name != "outputs"}},
        {**event, "data": {**event["data"], "created_at": "yesterday"}},
    ):
        assert faults(orjson.dumps(wrong)) != []
    assert faults(orjson.dumps({**event, "data": {**event["data"], "new": 1}})) == [
        "standard $.data.new is not described",
        "cloudevents $.data.new is not described",
    ]


def test_a_member_without_a_description_is_found() -> None:
    schema = {"description": "a", "properties": {"b": {"type": "string"}, "c": {"description": "c", "items": {}}}}
    assert list(undescribed({"b": "", "c": [1], "d": 2}, schema)) == ["$.b", "$.c[0]", "$.d"]


def test_the_status_of_a_type_is_the_one_its_draft_has() -> None:
    """What the reducer's tests hold every step against, written a second time in the catalogue."""
    assert {type: kind.status for type, kind in CATALOGUE.items() if kind.status is not None} == SHOWS


def test_a_task_with_everything_is_as_its_schema_says() -> None:
    task = evolve(
        ALL[-1],
        outputs=(Output(url="https://cdn.example.com/a.mp4", expires_at=NOW),),
        surplus=(Surplus(provider_task_id="job", account="main", found_at=NOW, charged="1", unit_price="0.01 USD"),),
    )
    assert faults(rendered(EventType.TASK_CONFLICT, task, URL)) == []
