"""Every recorded history, replayed through the reducer of today, leads where it led when it was recorded.

A red test here says that a change of the reducer tells another story of what has already happened in somebody's database. Where that
is meant, `make histories` records the corpus anew, and the difference is part of the change.
"""

from __future__ import annotations

import difflib
import re
from itertools import pairwise
from pathlib import Path

import orjson
import pytest

from service.core.observation import Source
from service.core.replay import Replayed
from storage.records import Charge, FailureCode, Streak, TaskStatus
from tests.histories.scenarios import FOLDER, recorded, scenarios
from tests.histories.text import Text, dumped, lived, replayed

FILES = sorted(FOLDER.glob("*.json"))


def text_of(path: Path) -> Text:
    text: Text = orjson.loads(path.read_bytes())
    return text


def difference(stored: Text, *, kept: bool = False) -> str:
    """Where a history leads now, beside where it led; empty when that is the same."""
    was, now = dumped(stored), dumped(replayed(stored, kept=kept))
    return "\n".join(difflib.unified_diff(was.splitlines(), now.splitlines(), "recorded", "replayed", lineterm="", n=4))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_history_leads_where_it_led(path: Path) -> None:
    told = difference(text_of(path))
    assert not told, f"{text_of(path)['shows']}\n{told}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_a_database_keeps_of_it_leads_there_too(path: Path) -> None:
    told = difference(text_of(path), kept=True)
    assert not told, f"{text_of(path)['shows']}\n{told}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_version_of_a_history_comes_once_and_in_order(path: Path) -> None:
    versions = [one["version"] for one in text_of(path)["heard"] if "kept" not in one]
    assert versions == sorted(set(versions)) and versions[:1] == [1]


def test_there_is_a_history_of_every_scenario_and_no_other() -> None:
    assert {path.stem for path in FILES} == set(scenarios())
    assert len(FILES) >= 50


# Timing of these does not depend on how often a provider is asked.
STEADY = [
    "buy-everybody-refuses", "buy-fails-over-for-a-key", "buy-refused", "buy-acedata-error-names-it",
    "settle-abandoned", "end-acedata-trusted", "end-trusted", "push-binds-before-the-reply", "push-contradicting",
]  # fmt: skip


@pytest.mark.parametrize("name", STEADY)
async def test_what_happens_again_is_recorded_the_same(name: str, tmp_path: Path) -> None:
    again, stored = dumped(await recorded(name, tmp_path)), (FOLDER / f"{name}.json").read_text()
    assert again == stored, "the flow leaves something else than it did: `make histories` when that is meant"


# What the corpus shows


def lives() -> list[tuple[Text, Replayed]]:
    return [(text, lived(text)) for text in map(text_of, FILES)]


def test_every_transition_of_the_table_happened() -> None:
    """The table at the top of core/lifecycle.py, from and to."""
    seen: set[tuple[TaskStatus, TaskStatus]] = set()
    for _, life in lives():
        status = TaskStatus.QUEUED
        for step in life.steps:
            path = [status, *(draft.task.status for draft in step.drafts if draft.task), step.task.status]
            seen |= {(one, two) for one, two in pairwise(path) if one is not two}
            status = step.task.status
    q, s, u, p = TaskStatus.QUEUED, TaskStatus.SUBMITTING, TaskStatus.UNCONFIRMED, TaskStatus.PROCESSING
    done, bad, off, gone = TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.CANCELED, TaskStatus.EXPIRED
    assert seen >= {
        (q, s), (q, off), (q, gone), (s, p), (s, q), (s, bad), (s, u), (u, p), (u, s), (u, bad), (u, gone), (p, u),
        (p, done), (p, bad), (p, gone), (gone, done), (gone, bad), (bad, done),
    }  # fmt: skip


def test_every_contract_source_charge_streak_and_conflict_is_among_them() -> None:
    texts = [text for text, _ in lives()]
    assert {text["task"]["provider"] for text in texts} == {"cloudsway", "acedata", "ulazai", "apiinone"}
    assert {"kling-3.0", "kling-2.6"} <= {text["task"]["model"] for text in texts}
    # A reader rings and changes nothing: what a query then brings is the history.
    assert {one["source"] for text in texts for one in text["heard"]} == set(Source) - {Source.READER}
    steps = [step for _, life in lives() for step in life.steps]
    assert {step.task.charge for step in steps} == set(Charge)
    assert {step.task.streak for step in steps} == {None, *Streak}
    codes = {step.task.failure.code for step in steps if step.task.failure is not None}
    assert set(FailureCode) - codes <= {
        FailureCode.INVALID_INPUT,
        FailureCode.INSUFFICIENT_CREDIT,
        FailureCode.RATE_LIMITED,
    }
    conflicts = {note.detail["conflict"] for step in steps for note in step.notes if note.kind == "conflict"}
    assert conflicts >= {"binding", "mismatch", "surplus", "verdict", "submission"}


def test_a_file_holds_no_secret_and_no_address_of_this_machine() -> None:
    for path in FILES:
        assert not re.search(
            r"key-of-the-account|whsec_|Bearer|127\.0\.0\.1:(?!1\b)|/callbacks/|/tmp", path.read_text()
        ), path


# The corpus has teeth


MUTANTS = {
    "two missing answers are believed": ("asking", "ABSENT_QUERIES", 2),
    "a missing job is believed sooner": ("asking", "ABSENT_SECONDS", 60),
    "fourteen failing minutes are enough": ("asking", "UNREACHABLE_QUERIES", 14),
    "an output is waited for longer": ("verdicts", "NO_OUTPUT_QUERIES", 11),
    "sent again after four look-ups": ("buying", "LOOK_UPS_BEFORE_RESEND", 5),
    "a refused key is borne longer": ("buying", "CREDENTIALS_SECONDS", 1800),
    "a verdict counts for ever": ("patience", "LATE_VERDICT_SECONDS", 10**9),
    "one job too many is not told": ("verdicts", "SURPLUS_TOLD", 0),
    "a bound task is unbound by an end": ("verdicts", "MAY_END", frozenset({TaskStatus.PROCESSING})),
    "no task is bound late": ("verdicts", "MAY_BIND", frozenset({TaskStatus.SUBMITTING})),
    "pushes count as queries": ("verdicts", "QUERIES", (Source.POLL, Source.LOOK_UP, Source.CALLBACK)),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_changed_reducer_is_noticed(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name, value = MUTANTS[mutant]
    monkeypatch.setattr(f"service.core.{module}.{name}", value)
    assert [path.stem for path in FILES if difference(text_of(path))]


def test_a_history_with_an_observation_less_is_noticed() -> None:
    text = text_of(FOLDER / "end-pushed.json")
    kept = [one for one in text["heard"] if "kept" not in one]
    for gone in kept:
        assert difference({**text, "heard": [one for one in kept if one is not gone]})
