"""What is sent is a callback as taskrelay reads it; that the course holds together is seen in test_command."""

from __future__ import annotations

import asyncio
import json

from service.cli.bench.course import CONNECTIONS, Job, _all, callback

JOB = Job("901930004609634393", "task_01M7YS3WPKZ98XA4C1SFTGVZTF", "http://127.0.0.1:1/callbacks/cloudsway/x")


def test_a_callback_names_the_job_and_the_task_and_is_of_the_usual_size() -> None:
    body = json.loads(callback(JOB))
    assert (body["id"], body["external_id"], body["status"]) == (JOB.id, JOB.task, "succeeded")
    assert 900 <= len(callback(JOB)) <= 1300


async def test_everything_is_done_once_over_so_many_connections_at_a_time() -> None:
    done: list[int] = []
    most = under_way = 0

    async def do(number: int) -> None:
        nonlocal most, under_way
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        done.append(number)

    assert await _all(do, range(100)) > 0
    assert sorted(done) == list(range(100)) and most == CONNECTIONS
