"""One task, one trace: what its client began goes on through purchase, push, record and delivery."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.sandbox.subscriber import Answers
from service.telemetry import traces
from tests.service.pipeline.rig import Rig
from tests.service.pipeline.steps import ended

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    kept = InMemorySpanExporter()
    traces.use(SimpleSpanProcessor(kept))
    yield kept
    traces.stop()


def named(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [one for one in spans.get_finished_spans() if one.name == name]


async def test_without_spans_the_clients_own_trace_stands_on_every_delivery_and_again_on_each_try(rig: Rig) -> None:
    project = await rig.project()
    await rig.endpoint(project)
    rig.subscriber.answers = Answers(status=503, times=1)
    task = await rig.task(project, traceparent=PARENT)
    await rig.settle()
    rig.world.finish(rig.job(task).id)
    await rig.pushes()
    for _ in range(3):
        rig.clock.advance(61)
        await rig.settle()
    assert len(rig.received()) == 2
    assert {one.headers["traceparent"] for one in rig.received()} == {PARENT}
    assert all(one.valid for one in rig.received()[1:])


async def test_a_task_of_no_trace_has_none_on_its_deliveries(rig: Rig) -> None:
    project = await rig.project()
    await rig.endpoint(project)
    await ended(rig, project)
    await rig.settle()
    assert ["traceparent" in one.headers for one in rig.received()] == [False]


async def test_a_provider_is_told_of_no_trace(rig: Rig) -> None:
    """To a stranger it would say how our client's systems hang together."""
    task = await rig.task(await rig.project(), traceparent=PARENT)
    await rig.settle()
    rig.job(task)
    assert rig.world.requests
    assert not [one for one in rig.world.requests if TRACE_ID in repr(one)]


async def test_purchase_record_and_delivery_are_spans_of_the_clients_trace(
    rig: Rig, spans: InMemorySpanExporter
) -> None:
    project = await rig.project()
    await rig.endpoint(project)
    task = await rig.task(project, traceparent=PARENT)
    await rig.settle()
    rig.world.finish(rig.job(task).id)
    await rig.pushes()
    rig.clock.advance(3)
    await rig.settle()
    assert {one.name for one in spans.get_finished_spans()} == {"submit", "record", "deliver"}
    assert {f"{one.context.trace_id:032x}" for one in spans.get_finished_spans() if one.context} == {TRACE_ID}
    [sent] = named(spans, "deliver")
    [received] = rig.received()
    assert sent.context is not None
    assert received.headers["traceparent"] == f"00-{TRACE_ID}-{sent.context.span_id:016x}-01"
    assert received.valid
    told = [dict(one.attributes or {}) for one in named(spans, "record")]
    assert {one["taskrelay.task"] for one in told} == {task.id}
    assert "task.succeeded" in {one["taskrelay.events"] for one in told}
