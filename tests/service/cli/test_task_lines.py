from __future__ import annotations

import pytest

from service.cli.client import Api
from service.cli.task_lines import instant, named_task, next_line, state, task_lines, timeline_lines
from service.cli.terminal import Stop
from tests.service.cli.conftest import Relay
from tests.service.cli.inside import said_json

BARE = {
    "id": "task_1", "status": "failed", "provider": "p", "account": "a", "model": "m", "final": True, "charge": "possible",
    "finished_at": "2026-01-02T03:04:05Z", "created_at": "2026-01-02T03:04:00Z",
}  # fmt: skip


def test_what_is_not_known_is_left_out() -> None:
    assert task_lines(BARE) == [
        "task_1  failed",
        "  model      p/m   account a",
        "  charge     possible",
        "  created    2026-01-02T03:04:00Z",
        "  finished   2026-01-02T03:04:05Z",
    ]


def test_an_end_that_may_change_and_a_failure_worth_repeating_say_so() -> None:
    error = {"code": "provider_error", "message": "it broke", "retryable": True}
    shown = "\n".join(task_lines({**BARE, "final": False, "error": error, "cost": {"charged": "4", "unit": "unit"}}))
    assert "provider_error  it broke" in shown and "charged again" in shown and "late verdict" in shown
    assert "charge     possible 4 unit" in shown


def test_what_comes_next_is_said_with_when_and_why() -> None:
    following = {"action": "poll", "at": "2026-01-02T03:04:05Z", "reason": "Its push is overdue."}
    assert next_line(following) == "poll at 2026-01-02T03:04:05Z: Its push is overdue."
    assert next_line({}) is None
    told = {"task": "task_1", "status": "processing", "data": [], "next": following}
    assert timeline_lines(told) == ["task_1  processing", f"  next: {next_line(following)}"]
    assert instant("1970-01-01T00:00:01.5Z") == 1.5


def test_a_job_too_many_is_shown_with_what_it_costs() -> None:
    jobs = [
        {"provider_task_id": "job-2", "estimated": "4", "charged": None, "unit": "unit"},
        {"provider_task_id": "job-3"},
    ]
    shown = task_lines({**BARE, "cost": {"surplus": jobs}})
    assert "  surplus    bought too many, charged as well: job-2 4 unit, job-3" in shown


def test_where_a_task_stands_is_its_status_with_what_the_provider_said_of_it() -> None:
    assert state({"status": "processing", "phase": "running", "progress": 0}) == "processing, running, 0 %"
    assert state({"status": "queued"}) == "queued"


def test_a_task_is_found_by_its_id_and_by_its_reference(relay: Relay) -> None:
    words = ("submit", "A boat", "-p", "cloudsway", "-m", "kling-3.0-turbo", "--reference", "named")
    made = said_json(relay, *words)
    with Api(relay.url, relay.client["TASKRELAY_KEY"]) as api:
        assert named_task(api, made["id"])["id"] == named_task(api, "named")["id"] == made["id"]
        with pytest.raises(Stop, match="no task of this project has the id or the reference 'nobody'"):
            named_task(api, "nobody")
