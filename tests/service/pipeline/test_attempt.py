from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest

from service.core.schedule import RETRY_SCHEDULE
from service.pipeline.redelivery import send_sample
from service.sandbox.subscriber import Answers
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig
from tests.service.pipeline.steps import ended, sending


async def test_a_blocked_address_is_given_up_at_once(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project, url="http://169.254.169.254/latest")
    await ended(rig, project)
    await rig.settle()
    assert await rig.deliveries(endpoint) == [("exhausted", 1)]
    assert await rig.rows("SELECT error_class FROM attempts") == [("blocked",)]


async def test_a_failing_endpoint_gets_ten_attempts_over_three_days_and_none_too_early(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(3)
    project = await rig.project()
    endpoint = await rig.endpoint(project)
    worker = await sending(rig, endpoint)
    worker._desk = replace(worker._desk, chance=dice.random)
    began = rig.clock()
    await ended(rig, project)
    rig.subscriber.answers = Answers(status=500, times=100)
    await rig.stretch(100 * 3600)
    assert await rig.deliveries(endpoint) == [("exhausted", 10)]
    times = [int(str(at)) for (at,) in await rig.rows("SELECT at FROM attempts ORDER BY number")]
    waits = [(after - before) / SECOND for before, after in pairwise(times)]
    for wait, promised in zip(waits, RETRY_SCHEDULE[1:], strict=True):
        assert promised <= wait <= promised * 1.1 + 61, "jitter only adds (and a breaker's pause)"
    assert times[-1] - began >= 72 * 3600 * SECOND


async def test_an_endpoint_has_its_own_schedule_and_headers(rig: Rig) -> None:
    sealed = rig.keyring.seal('{"x-shop":"eu"}', purpose="endpoint-headers", nonce=b"n" * 12)
    project = await rig.project()
    endpoint = await rig.endpoint(project, retry_schedule="[60,120]", headers=sealed)
    await ended(rig, project)
    rig.subscriber.answers = Answers(status=500, times=100)
    await rig.stretch(1000)
    assert await rig.deliveries(endpoint) == [("exhausted", 3)]
    times = [int(str(at)) for (at,) in await rig.rows("SELECT at FROM attempts ORDER BY number")]
    assert [round((b - a) / SECOND) for a, b in pairwise(times)] == [60, 120]
    assert {one.headers["x-shop"] for one in rig.received()} == {"eu"}


async def test_a_test_that_is_told_the_receiver_is_gone_disables_nothing(rig: Rig) -> None:
    project = await rig.project()
    endpoint = await rig.endpoint(project)
    rig.subscriber.answers = Answers(status=410, times=1)
    await send_sample(rig.recorder, endpoint, project)
    await rig.settle()
    assert await rig.rows("SELECT status FROM endpoints") == [("active",)]
