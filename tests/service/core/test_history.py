from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core import history
from service.core.fallback import Candidate, dump
from service.core.history import DECIDING, FLEETING, OVERWRITTEN, SCHEDULING, UNSEEN, changes_for_good, context, heard
from service.core.lifecycle import advance
from service.core.observation import Actor, Claim, Observation, Reading, Source
from service.core.observation import dump as dumped
from service.core.step import Rules, Step
from storage.records import ObservationRow, Streak, Task
from tests.service.core.builders import (
    ALL,
    DEADLINE,
    HOUR,
    JOB,
    MINUTE,
    OUTPUT,
    PROCESSING,
    QUEUED,
    RUNNING,
    START,
    SUBMIT_BY,
    SUBMITTING,
    UNCONFIRMED,
    poll,
    reply,
    rules,
    see,
)  # fmt: skip


def row_of(task: Task, seen: Observation, known: Rules, *, taken: bool = False) -> tuple[ObservationRow, Step]:
    """An observation as it is kept."""
    step = advance(task, seen, known, taken=taken)
    row = ObservationRow(
        id="obs_1",
        task_id=task.id,
        submission_id=seen.submission_id,
        account=seen.account or task.account,
        source=seen.source.value,
        claim=seen.claim.value,
        content=dumped(seen.reading),
        raw=None,
        digest=None,
        seen_at=known.now,
        verified_at=known.now,
        version=step.task.version,
        context=context(task, seen, known, step, taken=taken),
    )
    return row, step


observations = st.builds(
    Observation,
    task_id=st.just(QUEUED.id),
    source=st.sampled_from(Source),
    reading=st.builds(
        Reading,
        claim=st.sampled_from(Claim),
        provider_task_id=st.sampled_from([None, JOB, "job-2"]),
        external_id=st.sampled_from([None, QUEUED.id, "task_of_another"]),
        provider_status=st.sampled_from([None, "processing", "odd"]),
        outputs=st.sampled_from([(), (OUTPUT,)]),
        charged=st.sampled_from([None, "2", "0", "x"]),
        cost_unit=st.sampled_from([None, "USD"]),
        account_refused=st.booleans(),
        refunded=st.booleans(),
        progress=st.sampled_from([None, 0, 50]),
        retry_after_seconds=st.sampled_from([None, 0.0, 30.0]),
        also=st.sampled_from([(), ("job-3",)]),
    ),
    at=st.sampled_from([START, START + HOUR, DEADLINE + MINUTE]),
    account=st.sampled_from([None, "main", "other"]),
    submission_id=st.sampled_from([None, "sub_1"]),
    prompted_by=st.sampled_from([None, Claim.SUCCEEDED, Claim.RUNNING]),
    submission_deadline_at=st.sampled_from([None, SUBMIT_BY, SUBMIT_BY + HOUR]),
    by=st.sampled_from([None, Actor(key_id="key_1", name="me")]),
)
known_rules = st.builds(
    rules,
    st.sampled_from([START + MINUTE, START + HOUR, DEADLINE + MINUTE, DEADLINE + 24 * HOUR]),
    look_up=st.booleans(),
    resend=st.booleans(),
    settle_seconds=st.sampled_from([120.0, 7.5]),
    configured=st.booleans(),
    usable=st.sampled_from([None, frozenset({"second"}), frozenset()]),
    jitter=st.sampled_from([0.0, 0.99]),
    pushes=st.booleans(),
)
FALLBACKS = dump([Candidate(account="second", provider="ulazai", model="kling-3.0", input="{}", cost_unit="credit")])
streaks: list[dict[str, Any]] = [
    {},
    {"streak": Streak.ABSENT, "streak_count": 3, "streak_since": START, "streak_last_at": START + HOUR},
    {"streak": Streak.UNREACHABLE, "streak_count": 15, "streak_since": START, "streak_last_at": DEADLINE},
    {"streak": Streak.CREDENTIALS, "streak_count": 4, "streak_since": START, "streak_last_at": START + HOUR},
]
standing = st.builds(
    lambda task, fallbacks, streak: replace(task, fallbacks=fallbacks, cost_unit="unit", cost_estimated="4", **streak),
    st.sampled_from(ALL),
    st.sampled_from(["[]", FALLBACKS]),
    st.sampled_from(streaks),
)


def lasting(task: Task) -> dict[str, object]:
    return {one.name: getattr(task, one.name) for one in fields(Task) if one.name not in FLEETING}


def facts(step: Step) -> list[object]:
    return [
        [note.kind for note in step.notes],
        [(draft.type, draft.discriminator, draft.hard) for draft in step.drafts],
    ]


@given(task=standing, seen=observations, known=known_rules, taken=st.booleans())
def test_what_is_kept_of_an_observation_decides_as_the_observation_did(
    task: Task, seen: Observation, known: Rules, taken: bool
) -> None:
    row, step = row_of(task, seen, known, taken=taken)
    kept = heard(row)
    again = advance(task, kept.seen, kept.rules, taken=kept.taken)
    assert lasting(again.task) == lasting(step.task)
    assert facts(again) == facts(step)
    assert (again.outcome, again.task.version) == (step.outcome, step.task.version)
    if changes_for_good(task, step):
        assert again.task.updated_at == step.task.updated_at


@given(task=standing, seen=observations, known=known_rules, taken=st.booleans(), later=st.integers(0, 10**9))
def test_when_a_task_is_looked_at_next_decides_nothing(
    task: Task, seen: Observation, known: Rules, taken: bool, later: int
) -> None:
    """Otherwise the looks that change nothing else would have to be kept too."""
    step = advance(task, seen, known, taken=taken)
    due_at = None if task.due_at is None else task.due_at + later
    other = advance(replace(task, due_at=due_at, version=task.version + 7), seen, known, taken=taken)
    assert lasting(other.task) == lasting(step.task)
    assert facts(other) == facts(step)


@given(task=standing, seen=observations, known=known_rules, taken=st.booleans())
def test_what_was_overwritten_is_kept_with_what_overwrote_it(
    task: Task, seen: Observation, known: Rules, taken: bool
) -> None:
    row, step = row_of(task, seen, known, taken=taken)
    before = {name: getattr(step.task, name) for name in OVERWRITTEN} | dict(heard(row).before)
    assert before == {name: getattr(task, name) for name in OVERWRITTEN}


LATE = DEADLINE + MINUTE
ABSENT = replace(
    UNCONFIRMED, streak=Streak.ABSENT, streak_count=3, streak_since=START, streak_last_at=SUBMIT_BY + MINUTE
)
OVERDUE = see(Claim.OVERDUE, Source.DEADLINE, LATE)
INTENT = see(Claim.INTENT, Source.SUBMIT, START + HOUR, submission_deadline_at=SUBMIT_BY + HOUR)
DECISIVE: dict[str, tuple[Task, Observation, dict[str, Any], dict[str, Any]]] = {
    "configured": (PROCESSING, OVERDUE, {"now": LATE, "configured": False}, {"configured": True}),
    "look_up": (UNCONFIRMED, OVERDUE, {"now": LATE, "look_up": False}, {"look_up": True}),
    "resend": (ABSENT, INTENT, {"now": START + HOUR, "settle_seconds": 60.0, "resend": False}, {"resend": True}),
    "settle_seconds": (ABSENT, INTENT, {"now": START + HOUR, "settle_seconds": 60.0}, {"settle_seconds": 120.0}),
    "usable": (
        replace(SUBMITTING, fallbacks=FALLBACKS),
        reply(Claim.REFUSED),
        {"usable": frozenset({"second"})},
        {"usable": frozenset()},
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", DECISIVE)
def test_a_rule_that_decides_is_kept_with_what_it_decided(rule: str) -> None:
    task, seen, known, otherwise = DECISIVE[rule]
    row, step = row_of(task, seen, rules(**known))
    kept = heard(row)
    assert lasting(advance(task, kept.seen, kept.rules).task) == lasting(step.task)
    assert lasting(advance(task, seen, rules(**known | otherwise)).task) != lasting(step.task), (
        "it decides nothing here"
    )


def test_every_rule_either_decides_or_only_says_when() -> None:
    """A new one must be kept with each observation, or be shown not to decide."""
    assert {one.name for one in fields(Rules)} == {"now", "usable", *DECIDING, *SCHEDULING}


def test_every_part_of_an_observation_is_kept_somewhere() -> None:
    columns = {"task_id", "source", "reading", "submission_id", "account"}
    fence = {"lane"}  # decides whether it is folded at all: one that stands did pass it
    measured = {"heard_at"}  # decides nothing
    assert {one.name for one in fields(Observation)} == {"at", "verified", *columns, *fence, *measured, *UNSEEN}


def test_a_poll_that_says_nothing_new_is_no_part_of_the_history() -> None:
    seen = poll(Claim.RUNNING, provider_task_id=JOB, provider_status="processing")
    step = advance(RUNNING, seen, rules())
    assert step.task is not RUNNING and not changes_for_good(RUNNING, step)


@pytest.mark.parametrize(
    ("task", "seen"),
    [
        (PROCESSING, poll(Claim.RUNNING, provider_task_id=JOB)),
        (RUNNING, poll(Claim.ABSENT)),
        (RUNNING, poll(Claim.RUNNING, provider_task_id=JOB, progress=10)),
        (RUNNING, see(Claim.RUNNING, prompted_by=Claim.SUCCEEDED, provider_task_id=JOB)),
        (replace(RUNNING, **streaks[1]), poll(Claim.RUNNING, provider_task_id=JOB)),
        (SUBMITTING, reply(Claim.AMBIGUOUS)),
        (UNCONFIRMED, see(Claim.UNREACHABLE, Source.LOOK_UP)),
    ],
)
def test_what_counts_later_is_part_of_the_history(task: Task, seen: Observation) -> None:
    assert changes_for_good(task, advance(task, seen, rules()))


def test_an_observation_that_changed_nothing_cannot_be_read_as_history() -> None:
    row, _ = row_of(RUNNING, poll(Claim.ABSENT), rules())
    with pytest.raises(ValueError, match="obs_1 is not part of the history of task_1"):
        heard(replace(row, version=None, context=None))


def test_the_usual_context_is_short() -> None:
    """It is written with every push that decides."""
    row, _ = row_of(PROCESSING, poll(Claim.RUNNING, provider_task_id=JOB), rules())
    assert row.context == '{"look_up":true,"resend":true,"settle_seconds":120.0}'
    assert history.heard(row).rules.usable == frozenset()
