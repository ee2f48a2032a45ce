"""Spans: of one trace, from the client's request to the delivery; and nothing at all where nobody wants any."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.telemetry import traces

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    kept = InMemorySpanExporter()
    traces.use(SimpleSpanProcessor(kept))
    yield kept
    traces.stop()


def test_without_anybody_who_wants_them_there_are_none() -> None:
    assert not traces.on()
    assert traces.begin("create", PARENT) is None
    traces.note("submit", PARENT, 0.1)


def test_a_span_continues_the_trace_it_belongs_to(spans: InMemorySpanExporter) -> None:
    span = traces.begin("deliver", PARENT, "client", delivery="dlv_1", attempt=2)
    assert span is not None
    span.end(status=200, error=None)
    [kept] = spans.get_finished_spans()
    assert kept.context is not None and kept.parent is not None
    assert f"{kept.context.trace_id:032x}" == TRACE_ID
    assert f"{kept.parent.span_id:016x}" == "00f067aa0ba902b7"
    assert span.traceparent == f"00-{TRACE_ID}-{kept.context.span_id:016x}-01"
    told = {"taskrelay.delivery": "dlv_1", "taskrelay.attempt": 2, "taskrelay.status": 200}
    assert (kept.name, dict(kept.attributes or {})) == ("deliver", told)


def test_a_span_without_a_parent_begins_a_trace(spans: InMemorySpanExporter) -> None:
    span = traces.begin("create", None)
    assert span is not None
    span.end()
    [kept] = spans.get_finished_spans()
    assert kept.parent is None
    assert kept.context is not None and span.traceparent.split("-")[1] == f"{kept.context.trace_id:032x}"


def test_what_has_ended_is_noted_with_how_long_it_took(spans: InMemorySpanExporter) -> None:
    traces.note("record", PARENT, 1.5, task="task_1")
    traces.note("record", None, 1.5, task="task_of_no_trace")
    [kept] = spans.get_finished_spans()
    assert kept.start_time is not None and kept.end_time is not None
    assert kept.end_time - kept.start_time == 1_500_000_000
    assert time.time_ns() - kept.end_time < 60e9


def test_what_a_client_does_not_want_sampled_is_not_sent_and_its_trace_goes_on(spans: InMemorySpanExporter) -> None:
    span = traces.begin("deliver", PARENT[:-2] + "00")
    assert span is not None and span.traceparent.startswith(f"00-{TRACE_ID}-") and span.traceparent.endswith("-00")
    span.end()
    assert spans.get_finished_spans() == ()


@pytest.mark.parametrize(
    ("endpoint", "environ", "wanted"),
    [
        (None, {}, False),
        ("http://127.0.0.1:4318/v1/traces", {}, True),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        (None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318"}, True),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ("http://127.0.0.1:4318", {"OTEL_SDK_DISABLED": "true"}, False),
        ("http://127.0.0.1:4318", {"OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_they_are_wanted_where_an_address_is_set(endpoint: str | None, environ: dict[str, str], wanted: bool) -> None:
    assert traces.wanted(endpoint, environ) is wanted


class Collector(HTTPServer):
    """An OTLP receiver."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receive)
        self.got: list[ExportTraceServiceRequest] = []


class Receive(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Collector) and self.path == "/v1/traces"
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_receiver_on_a_socket_gets_them_at_the_latest_when_we_stop() -> None:
    with Collector() as collector:
        serving = threading.Thread(target=collector.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            traces.start(f"http://127.0.0.1:{collector.server_port}/v1/traces", {})
            traces.note("submit", PARENT, 0.2, "client", task="task_1")
            traces.stop()
        finally:
            collector.shutdown()
            serving.join()
    [request] = collector.got
    [resource] = request.resource_spans
    named = {one.key: one.value.string_value for one in resource.resource.attributes}
    [span] = resource.scope_spans[0].spans
    assert named["service.name"] == "taskrelay"
    assert (span.name, span.trace_id.hex(), span.parent_span_id.hex()) == ("submit", TRACE_ID, "00f067aa0ba902b7")
    assert not traces.on()


@pytest.mark.slow
def test_nothing_of_it_is_imported_until_it_is_wanted() -> None:
    asked = "import sys, service.bootstrap.door, service.pipeline.relay, service.cli.serve; "
    asked += "print([name for name in sys.modules if name.startswith(('opentelemetry', 'requests'))])"
    found = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.slow
def test_without_the_extra_it_says_what_to_install() -> None:
    asked = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from service.telemetry import traces\n"
        "try:\n    traces.start('http://127.0.0.1:4318', {})\n"
        "except traces.NoExtra as error:\n    print(error)"
    )
    found = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == traces.NO_EXTRA
