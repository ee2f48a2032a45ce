from __future__ import annotations

from service.api.openapi import told
from service.core.events import EventType
from storage.records import DeliveryStatus, EndpointFormat


def test_closed_sets_are_the_codes_own() -> None:
    assert told.SCHEMAS["Delivery"]["properties"]["status"]["enum"] == [status.value for status in DeliveryStatus]
    assert told.SCHEMAS["Event"]["properties"]["type"]["enum"] == [type.value for type in EventType]
    assert told.FORMAT["schema"]["enum"] == [format.value for format in EndpointFormat]


def test_the_feed_always_says_where_to_go_on() -> None:
    schema = told.OPERATIONS["GET", "/v1/events"].answers[200].schema
    assert schema is not None and schema["properties"]["next"]["type"] == "string"


def test_a_stream_is_no_json() -> None:
    assert told.OPERATIONS["GET", "/v1/events/stream"].answers[200].media_type == "text/event-stream"
