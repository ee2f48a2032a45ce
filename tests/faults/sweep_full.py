"""The disk is full at one write after another, and real disks of several sizes: refused, kept, mended, each time. Minutes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.test_disk import bought, callback_path, creates, ended, eventually, intact, on, refused, story
from tests.faults.disk import Seam, small_disk

POINTS = int(os.environ.get("FAULT_WRITES", "300"))
ROUND = 40  # writes from a create to the end of its task, about: each of them is the first that fails, again and again
KILOBYTES = (2048, 3072, 4096, 8192)


@pytest.mark.timeout(900)
async def test_whichever_write_finds_the_disk_full_nothing_acknowledged_is_lost_and_all_mends(tmp_path: Path) -> None:
    disk = Seam(tmp_path)
    quick = {
        "TASKRELAY_ACCOUNTS__CLOUDSWAY__RATE": "200/s",
        "TASKRELAY_ACCOUNTS__CLOUDSWAY__MAX_OPEN_TASKS": "1000",
    }
    async with on(disk, **quick) as stack, stack.client() as client:
        await stack.subscribe()
        push = callback_path(stack, disk, "sub_00000000000000000000000000")
        order = {"provider": "cloudsway", "model": "kling-3.0-turbo", "input": {"prompt": "A paper boat"}}
        acked: set[str] = set()
        pushed = full = 0
        for point in range(POINTS):
            failed = disk.control.failed
            disk.control.arm(1, after=point % ROUND)
            while disk.control.failed == failed:
                for path, body in (("/v1/tasks", order), (push, {"n": point, "pushed": pushed})):
                    reply = await client.post(path, json=body)
                    if reply.status_code != 202:
                        refused(reply)
                        full += 1
                    elif path == push:
                        pushed += 1
                    else:
                        acked.add(reply.json()["id"])
            assert (await client.get("/v1/tasks?limit=1")).status_code == 200
            disk.free()
            assert (await client.get("/livez")).status_code == 200

        async def is_ready() -> bool:
            return (await client.get("/readyz")).status_code == 200

        await eventually("ready again", is_ready, stack)
        await eventually("every end", lambda: ended(client, acked), stack)
        assert full >= POINTS // 4
        assert bought(stack) == creates(stack) == len(acked)
        await stack.until(
            lambda: len({one.webhook_id for one in stack.subscriber.received}) == len(acked), "every event"
        )
        assert stack.process is not None and stack.process.returncode is None
        intact(disk)


@pytest.mark.timeout(170)
@pytest.mark.parametrize("kilobytes", KILOBYTES)
async def test_a_real_disk_without_room_refuses_keeps_and_mends(tmp_path: Path, kilobytes: int) -> None:
    with small_disk(tmp_path, kilobytes=kilobytes) as disk:
        await story(disk)
