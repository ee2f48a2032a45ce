"""What is left of an erased task: what happened and what it cost, and none of its words."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from service.core import erasing, events
from service.core.events import EventType
from service.core.patience import LATE_VERDICT_SECONDS
from service.core.times import SECOND
from storage.records import Failure, FailureCode, Task
from tests.service.core.builders import ALL, FAILED, HARD_ENDS, SOFT_ENDS, START, SUCCEEDED

NOW = START + 86_400 * SECOND
CANARY = "a red fox in the snow"


@pytest.mark.parametrize("task", ALL)
def test_only_what_has_ended_for_good_can_be_erased(task: Task) -> None:
    assert (erasing.why_not(task, pending=0, now=NOW) is None) == (task in HARD_ENDS)


@pytest.mark.parametrize("task", SOFT_ENDS)
def test_an_end_that_is_not_final_can_be_once_no_late_verdict_counts(task: Task) -> None:
    over = (task.finished_at or 0) + LATE_VERDICT_SECONDS * SECOND
    assert "a late answer may still change it" in (erasing.why_not(task, pending=0, now=over) or "")
    assert erasing.why_not(task, pending=0, now=over + 1) is None


def test_what_is_still_owed_is_delivered_first() -> None:
    assert "2 of its deliveries are not settled" in (erasing.why_not(SUCCEEDED, pending=2, now=NOW) or "")


def test_an_event_keeps_its_identity_and_its_ledger_and_nothing_of_its_content() -> None:
    failure = Failure(code=FailureCode.CONTENT_REJECTED, message=CANARY, provider_code="42", provider_message=CANARY)
    task = replace(FAILED, input=orjson.dumps({"prompt": CANARY}).decode(), outputs=SUCCEEDED.outputs, failure=failure)
    view = events.task_view(task, public_url="https://r.example", output_url=f"https://r.example/o/{CANARY}")
    body = events.render_task_event("evt_1", EventType.TASK_FAILED, START, view)
    left = erasing.body_left(body, NOW)
    was, now = orjson.loads(body), orjson.loads(left)
    assert CANARY.encode() not in left
    assert {name: now[name] for name in ("id", "type", "timestamp")} == {
        name: was[name] for name in ("id", "type", "timestamp")
    }
    assert (now["data"]["input"], now["data"]["outputs"], now["data"]["output_url"]) == ({}, [], None)
    assert (now["data"]["error"]["code"], now["data"]["error"]["provider_code"]) == ("content_rejected", "42")
    assert now["data"]["cost"] == was["data"]["cost"]
    assert now["data"]["erased_at"] == "2026-09-22T14:13:20.000000Z"


def test_a_line_of_the_timeline_keeps_what_happened() -> None:
    detail = orjson.dumps({"provider_task_id": "j", "message": CANARY, "detail": CANARY, "why": CANARY}).decode()
    assert erasing.detail_left(detail) == '{"provider_task_id":"j"}'
