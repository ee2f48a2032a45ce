from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from service.net.sender import Sent
from service.pipeline import telling_attempts
from service.pipeline.accounts import Callbacks
from service.sandbox.subscriber import Answers
from storage.outbox import Due
from tests.counters import counted, sample
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig
from tests.service.pipeline.steps import ended


def facts(caplog: pytest.LogCaptureFixture, logger: str) -> list[dict[str, object]]:
    return [fact for record in caplog.records if record.name == logger for fact in getattr(record, "facts", ())]


async def test_each_attempt_is_counted_by_its_answer_and_each_delivery_by_what_became_of_it(rig: Rig) -> None:
    project = await rig.project()
    await rig.endpoint(project)
    with (
        counted("attempts_total", result="2xx") as good,
        counted("attempts_total", result="5xx") as bad,
        counted("deliveries_total", outcome="pending") as pending,
        counted("deliveries_total", outcome="delivered") as delivered,
        counted("attempt_seconds_count") as timed,
    ):
        rig.subscriber.answers = Answers(status=503, times=1)
        await ended(rig, project)
        await rig.settle()
        rig.clock.advance(60)
        await rig.settle()
        assert (good(), bad(), pending(), delivered(), timed()) == (1, 1, 1, 1, 2)


async def test_an_attempt_without_an_answer_is_counted_by_its_failure(rig: Rig) -> None:
    project = await rig.project()
    await rig.endpoint(project, url="http://127.0.0.1:9/nobody")
    await rig.endpoint(project, url="http://10.9.9.9/private")
    with (
        counted("attempts_total", result="refused") as refused,
        counted("attempts_total", result="blocked") as blocked,
        counted("egress_blocked_total", side="delivery") as kept_in,
    ):
        await ended(rig, project)
        await rig.settle()
        assert (refused(), blocked(), kept_in()) == (1, 1, 1)


async def test_a_delivery_that_is_given_up_is_a_warning_that_names_it(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    project = await rig.project()
    endpoint = await rig.endpoint(project, retry_schedule="[0, 1]")
    rig.subscriber.answers = Answers(status=400, times=100)
    await ended(rig, project)
    for _ in range(6):
        await rig.settle()
        rig.clock.advance(3600)
    [(delivery,)] = await rig.rows("SELECT id FROM deliveries WHERE status = 'exhausted'")
    [told] = [one for one in facts(caplog, "taskrelay.relay") if one["text"] == "delivery exhausted"]
    assert (told["delivery"], told["endpoint"], told["project"], told["status"]) == (delivery, endpoint, project, 400)


async def test_an_endpoint_that_keeps_failing_is_told_when_its_breaker_opens_and_closes(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    project = await rig.project()
    endpoint = await rig.endpoint(project)
    rig.subscriber.answers = Answers(status=500, times=12)
    for _ in range(12):
        await ended(rig, project)
    await rig.settle()
    for _ in range(40):
        rig.clock.advance(61)
        await rig.settle()
    told = [one["text"] for one in facts(caplog, "taskrelay.relay") if one.get("endpoint") == endpoint]
    assert told[:2] == ["breaker open", "breaker closed"]


def test_from_a_push_to_a_first_success_is_measured_and_nothing_else() -> None:
    pushed = Due("dlv_1", "evt_1", "task.succeeded", 0, None, 0, b"{}", heard_at=1_000_000)
    good, bad = Sent(200, None, 5), Sent(500, "http", 5)
    before = sample("callback_relay_seconds_sum")
    with counted("callback_relay_seconds_count") as measured:
        telling_attempts.attempted(pushed, good, 3_500_000)
        assert measured() == 1
        assert sample("callback_relay_seconds_sum") - before == pytest.approx(2.5)
        telling_attempts.attempted(pushed, bad, 3_500_000)
        telling_attempts.attempted(replace(pushed, attempts=1), good, 3_500_000)
        telling_attempts.attempted(replace(pushed, heard_at=None), good, 3_500_000)
        assert measured() == 1


@pytest.mark.parametrize("callbacks", [Callbacks.TRUST, Callbacks.VERIFY])
async def test_when_a_push_came_goes_along_with_what_it_told(rig: Rig, callbacks: Callbacks) -> None:
    """Also where it only rang, and the answer to our question decided."""
    rig.account("cloudsway", callbacks=callbacks)
    project = await rig.project()
    await rig.endpoint(project)
    task = await rig.task(project)
    await rig.settle()
    rig.world.finish(rig.job(task).id)
    came_at = rig.clock()
    await rig.pushes()
    rig.clock.advance(3)
    await rig.settle()
    told = [fresh.due for batch in rig.batches for fresh in batch.fresh if fresh.due.event_type == "task.succeeded"]
    assert [came_at <= (due.heard_at or 0) < came_at + 3 * SECOND for due in told] == [True]
