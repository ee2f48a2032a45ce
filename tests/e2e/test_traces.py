"""A client's trace through real processes: from its request to what its subscriber gets, and to a collector on a socket."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.e2e.stack import installation
from tests.service.telemetry.test_traces import PARENT, TRACE_ID, Collector

pytestmark = pytest.mark.slow


async def test_a_task_is_one_trace_from_its_clients_request_to_its_delivery(tmp_path: Path) -> None:
    with Collector() as collector:
        serving = threading.Thread(target=collector.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            address = f"http://127.0.0.1:{collector.server_port}/v1/traces"
            async with installation(tmp_path, settings={"TASKRELAY_TRACES__ENDPOINT": address}) as stack:
                await stack.start(OTEL_BSP_SCHEDULE_DELAY="100")
                await stack.subscribe()
                body = {"provider": "cloudsway", "model": "kling-3.0-turbo", "input": {"prompt": "A boat"}}
                async with stack.client() as client:
                    made = await client.post("/v1/tasks", json=body, headers={"traceparent": PARENT})
                await stack.until(lambda: bool(stack.subscriber.received), "the end was delivered")
                names = {"create", "submit", "callback", "record", "deliver"}
                await stack.until(lambda: names <= set(spans(collector)), "the collector had all spans")
        finally:
            collector.shutdown()
            serving.join()
    [received] = stack.subscriber.received
    assert received.valid and made.json()["id"] in received.body
    found = spans(collector)
    assert set(found) == names
    assert {trace for trace, _, _ in found.values()} == {TRACE_ID}
    _, create, parent = found["create"]
    assert parent == PARENT.split("-")[2]
    assert {parent for name, (_, _, parent) in found.items() if name != "create"} == {create}
    assert received.headers["traceparent"] == f"00-{TRACE_ID}-{found['deliver'][1]}-01"


def spans(collector: Collector) -> dict[str, tuple[str, str, str]]:
    """The last of each name: its trace, itself, its parent."""
    return {
        span.name: (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
        for request in list(collector.got)
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }
