"""Facts: one line each, clean, in one write."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from service.telemetry import context, log
from service.telemetry.facts import tell, tell_all

CANARY = "c4n4ryC4N4RY0123456789"
logger = logging.getLogger("taskrelay.test_facts")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def entries(written: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.splitlines()]


def test_a_fact_is_one_line_with_what_is_said_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", json=True)
    tell(logger, "task ended", task="task_1", seconds=1.5, error=None)
    (entry,) = entries(capsys.readouterr().out)
    assert entry.pop("at").endswith("Z")
    assert entry == {"level": "info", "logger": logger.name, "text": "task ended", "task": "task_1", "seconds": 1.5}


def test_a_fact_says_on_whose_request_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", json=True)
    begun = context.begin("req_1")
    context.whose("key_1", "prj_1")
    tell(logger, "task created", project="prj_2")
    logger.info("something else")
    begun.end()
    fact, line = entries(capsys.readouterr().out)
    assert (fact["request_id"], fact["key"], fact["project"]) == ("req_1", "key_1", "prj_2")
    assert (line["request_id"], line["key"], line["project"]) == ("req_1", "key_1", "prj_1")


def test_many_facts_are_one_write_and_as_many_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(io.StringIO):
        writes = 0

        def write(self, text: str) -> int:
            self.writes += 1
            return super().write(text)

    out = Counting()
    monkeypatch.setattr(sys, "stdout", out)
    log.configure("info", json=True)
    tell_all(logger, [{"text": "task ended", "task": f"task_{n}"} for n in range(100)])
    assert [entry["task"] for entry in entries(out.getvalue())] == [f"task_{n}" for n in range(100)]
    assert out.writes == 1


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize(
    "said",
    [
        {"why": f"https://user:{CANARY}@host.example/x?sig={CANARY}"},
        {"why": f"whsec_{CANARY}"},
        {"why": f"authorization: Bearer {CANARY}"},
        {"api_key": CANARY + "=/+"},
        {"why": f"/callbacks/cloudsway/{CANARY}~"},
        {"webhook_secret": CANARY},
    ],
)
def test_what_does_not_look_like_our_own_words_is_searched_for_secrets(
    as_json: bool, said: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure("info", json=as_json)
    tell(logger, "endpoint failing", **said)
    written = capsys.readouterr()
    assert "endpoint failing" in written.out + written.err
    assert CANARY not in written.out + written.err


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("evil", ["a\nb", "\x1b[31mred", "a\r\nb", "\x7f", "\u2028", "\ud800", "\x85"])
def test_a_fact_stays_on_its_line(as_json: bool, evil: str, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", json=as_json)
    tell(logger, "request", client=evil)
    written = capsys.readouterr()
    text = written.out + written.err
    assert len(text.splitlines()) == 1 and text.rstrip("\n").isprintable()


def test_below_the_level_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("warning", json=True)
    tell(logger, "task ended", task="task_1")
    tell(logger, "task unconfirmed", logging.WARNING, task="task_1")
    assert [entry["text"] for entry in entries(capsys.readouterr().out)] == ["task unconfirmed"]


def test_a_number_past_all_bounds_does_not_lose_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", json=True)
    tell(logger, "task ended", amount=2**70)
    assert entries(capsys.readouterr().out)[0]["amount"] == str(2**70)
