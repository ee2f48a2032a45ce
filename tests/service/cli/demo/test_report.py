from __future__ import annotations

from service.cli.demo import report
from service.cli.demo.scenes import Played
from tests.service.cli.demo.records import at, played


def everybody() -> list[Played]:
    return [played("pushed"), played("polled"), played("push-lost")]


def test_the_table_says_when_who_knew_and_at_what_price() -> None:
    assert report.table(everybody()) == [
        "                           pushed     polled  push lost",
        "    provider finished        2.00       2.00       2.00 s",
        "    taskrelay knew           2.40       2.40       2.40 s",
        "    subscriber had it        2.50       2.50       2.50 s",
        "    status queries              1          1          1",
        "    jobs bought                 1          1          1",
        "    signature               valid      valid      valid",
        "",
    ]


def test_a_story_is_told_by_everybody_in_order() -> None:
    assert report.story(played("push-lost")) == [
        "  Task 3, whose push the sandbox threw away on purpose",
        "      +0.000 s  taskrelay   Accepted and stored.",
        "      +0.030 s  cloudsway   accepted, job job-push-lost",
        "      +2.000 s  cloudsway   finished; its push is dropped",
        "      +2.400 s  taskrelay   it asked: it finished.",
        "      +2.500 s  subscriber  204, signature valid, webhook-id evt_L",
        "",
    ]
    assert "      +2.010 s  cloudsway   pushed succeeded, taskrelay answered 200" in report.story(played("pushed"))


def test_the_story_told_is_that_of_the_lost_push() -> None:
    assert report.most_telling(everybody()).scene.name == "push-lost"
    assert report.most_telling(everybody()[:1]).scene.name == "pushed"


def test_a_pass_counts_what_it_saw() -> None:
    assert report.verdict(everybody(), 9.84)[0] == (
        "  PASS  3 tasks, 3 jobs bought, 3 ends, 3 events delivered, 0 missing   (9.8 s)"
    )
    assert "1 task, 1 job bought, 1 end, 1 event delivered" in report.verdict(everybody()[:1], 1)[0]


def test_a_failure_says_what_is_known_and_how_to_look_closer() -> None:
    one = played("push-lost")
    one.task["status"] = "processing"
    one.timeline["next"] = {"action": "poll", "at": at(30), "reason": "Its push is overdue."}
    first, known, where = report.failure(one, "no event within 60 s", ".demo")
    assert first == "  FAIL  task 3 (push lost): no event within 60 s"
    assert known.startswith("        it is processing; next: poll at ") and known.endswith(". Its push is overdue.")
    assert where == (
        "        timeline .demo/task3.json   log .demo/taskrelay.log   again: taskrelay demo --only push-lost"
    )
    one.timeline["next"] = None
    assert report.failure(one, "x", ".demo")[1] == "        it is processing; nothing follows"


def test_what_is_not_known_is_a_dash_and_no_valid_signature() -> None:
    one = played("pushed")
    one.received, one.jobs = [], []
    cells = {line[:22].strip(): line[22:].split() for line in report.table([one])[1:] if line}
    assert cells == {
        "provider finished": ["-", "s"],
        "taskrelay knew": ["2.40", "s"],
        "subscriber had it": ["-", "s"],
        "status queries": ["0"],
        "jobs bought": ["0"],
        "signature": ["-"],
    }
    assert report.facts(one)["signature"] is None and report.facts(one)["delivered"] is None


def test_a_demo_that_could_not_begin_says_why_and_where_the_logs_are() -> None:
    assert report.broken("sandbox did not come up; it said: x\nmore", ".demo") == [
        "  FAIL  sandbox did not come up; it said: x",
        "        more",
        "        logs .demo/",
    ]
