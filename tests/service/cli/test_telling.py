from __future__ import annotations

import json

import pytest

from service.cli.feed import Happened
from service.cli.telling import facts, line, notes, span, told

BODY = b'{"id":"evt_1","type":"task.failed","timestamp":"2026-11-20T22:35:22.824695Z","data":{"id":"task_1","reference":"o-1"}}'


def test_an_event_is_one_line_with_what_a_person_looks_for() -> None:
    assert told(Happened("evt_1", "task.failed", BODY)) == "22:35:22  task.failed         task_1  o-1"


@pytest.mark.parametrize("body", [b"", b"[]", b'{"data": []}', b"\xff", b'{"data": {"id": null}}'])
def test_a_body_of_another_shape_is_shown_all_the_same(body: bytes) -> None:
    assert told(Happened("evt_1", "task.failed", body)) == "-  task.failed         -  -"
    assert facts(Happened("evt_1", "task.failed", body))["id"] == "evt_1"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3 * 3600, "3 h"), (200_000, "2 d")]
)
def test_a_time_is_told_in_its_largest_unit(seconds: float, said: str) -> None:
    assert span(seconds) == said


def test_results_and_remarks_go_separate_ways(capsys: pytest.CaptureFixture[str]) -> None:
    line({"a": [1, "ü"]})
    notes(True)("again")
    notes(False)("again \x1b[2J")
    out, err = capsys.readouterr()
    assert out == '{"a": [1, "ü"]}\n'
    first, second = err.splitlines()
    assert json.loads(first) == {"note": "again"}
    assert second.startswith("… again") and "\x1b" not in second
