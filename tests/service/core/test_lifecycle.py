"""Whatever is heard, in whatever order and however often: the table holds, one end is told, and every task ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations, product
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from service.core.events import EventType
from service.core.lifecycle import SECOND, Outcome, Rules, Step, advance, rings
from service.core.observation import Claim, Observation, Reading, Source
from storage.records import OPEN_STATUSES, Charge, Failure, FailureCode, Output, Streak, Task, TaskStatus
from tests.depth import examples
from tests.service.core.builders import (
    ALL,
    CANCELED,
    DAY,
    DEADLINE,
    EXPIRED,
    EXPIRED_UNBOUND,
    FINAL_CHANGES,
    HARD_ENDS,
    HOUR,
    JOB,
    MINUTE,
    OUTPUT,
    PROCESSING,
    QUEUED,
    RUNNING,
    SETTLE,
    SOFT_ENDS,
    START,
    STREAK,
    SUBMIT_BY,
    SUBMITTING,
    UNCONFIRMED,
    Life,
    changed_fields,
    intent,
    look_up,
    order,
    poll,
    push,
    reply,
    rules,
    see,
)

INSTANTS = st.integers(START - DAY, START + 40 * DAY)
JOBS = st.sampled_from([None, JOB, "job-2"])
FAILURES = st.builds(Failure, code=st.sampled_from(FailureCode), message=st.text(max_size=5))
READINGS = st.builds(
    Reading,
    claim=st.sampled_from(Claim),
    provider_task_id=JOBS,
    external_id=st.sampled_from([None, QUEUED.id, "task_2"]),
    provider_status=st.sampled_from([None, "", "processing", "odd"]),
    progress=st.none() | st.integers(0, 100),
    outputs=st.sampled_from([(), (OUTPUT,)]),
    failure=st.none() | FAILURES,
    charged=st.sampled_from([None, "0", "5.5", "NaN", "-1", "x" * 50]),
    cost_unit=st.sampled_from([None, "unit"]),
    retry_after_seconds=st.none() | st.floats(),
    account_refused=st.booleans(),
    refunded=st.booleans(),
    also=st.lists(st.sampled_from(["job-3", "job-4"]), max_size=3).map(tuple),
    detail=st.none() | st.text(max_size=5),
)
OBSERVATIONS = st.builds(
    Observation,
    task_id=st.just(QUEUED.id),
    source=st.sampled_from(Source),
    reading=READINGS,
    at=INSTANTS,
    verified=st.booleans(),
    prompted_by=st.none() | st.sampled_from(Claim),
    submission_deadline_at=st.none() | INSTANTS,
)
RULES = st.builds(
    Rules,
    now=INSTANTS,
    jitter=st.floats(0, 1),
    pushes=st.booleans(),
    look_up=st.booleans(),
    expected_seconds=st.floats(0, 100_000),
    settle_seconds=st.floats(0, 1000),
    configured=st.booleans(),
)
# Rows as no database of ours holds them, too: the reducer must still answer.
ROWS = st.builds(
    replace,
    st.sampled_from(ALL),
    status=st.sampled_from(TaskStatus),
    phase=st.sampled_from([None, "queued_at_provider", "running"]),
    provider_task_id=JOBS,
    progress=st.none() | st.integers(0, 100),
    final_at=st.none() | INSTANTS,
    finished_at=st.none() | INSTANTS,
    charge=st.sampled_from(Charge),
    submissions=st.integers(0, 5000),
    submission_deadline_at=st.none() | INSTANTS,
    resends=st.integers(0, 2),
    streak=st.none() | st.sampled_from(Streak),
    streak_count=st.integers(0, 5000),
    streak_since=st.none() | INSTANTS,
    streak_last_at=st.none() | INSTANTS,
    due_at=st.none() | INSTANTS,
    submitted_at=st.none() | INSTANTS,
)


@settings(max_examples=examples(1000), deadline=None)
@given(ROWS, OBSERVATIONS, RULES, st.booleans())
def test_it_never_raises_whatever_the_row_and_the_message(
    task: Task, seen: Observation, known: Rules, taken: bool
) -> None:
    step = advance(task, seen, known, taken=taken)
    assert isinstance(step, Step)
    assert step.task.version == task.version + (step.outcome is not Outcome.IGNORED)
    assert isinstance(rings(task, seen.reading), bool)


@pytest.mark.parametrize("task", ALL)
def test_every_state_answers_every_claim_of_every_source_by_the_table(task: Task) -> None:
    """`Life` holds each step against the table, and against what must be true of every row."""
    moments = (START + MINUTE, DEADLINE, DEADLINE + 40 * DAY)
    for claim, source, now, job, look in product(Claim, Source, moments, (None, JOB, "job-2"), (False, True)):
        outputs = (OUTPUT,) if look else ()
        seen = see(claim, source, now, provider_task_id=job, outputs=outputs, submission_deadline_at=now + 1)
        Life(task, look_up=look).hear(seen)
        Life(task, look_up=look).hear(replace(seen, submission_deadline_at=None))
        Life(task, look_up=look).hear(seen, taken=job is not None)
        Life(task, look_up=look).hear(seen, configured=False)


@given(st.sampled_from(ALL), OBSERVATIONS, RULES, st.booleans())
def test_it_is_pure(task: Task, seen: Observation, known: Rules, taken: bool) -> None:
    assert advance(task, seen, known, taken=taken) == advance(task, seen, known, taken=taken)


@settings(max_examples=examples(300), deadline=None)
@given(st.sampled_from(HARD_ENDS), st.lists(st.tuples(OBSERVATIONS, st.booleans()), max_size=8))
def test_a_final_end_absorbs_everything(task: Task, heard: list[tuple[Observation, bool]]) -> None:
    life = Life(task)
    for seen, taken in heard:
        life.hear(seen, taken=taken and seen.reading.provider_task_id is not None)
    wanted = any(seen.prompted_by is Claim.WANTED for seen, _ in heard)
    assert changed_fields(task, life.task) <= (FINAL_CHANGES if wanted else FINAL_CHANGES - {"outputs", *STREAK})
    assert set(life.told) <= {EventType.TASK_CONFLICT}


# Whole lives

TELLS = (
    reply(Claim.ACCEPTED, provider_task_id=JOB),
    push(Claim.WAITING),
    push(Claim.RUNNING, progress=50),
    poll(Claim.RUNNING, provider_task_id=JOB, progress=10),
    poll(Claim.ABSENT),
    poll(Claim.UNREACHABLE),
    poll(Claim.UNKNOWN, provider_task_id=JOB, provider_status="odd"),
    poll(Claim.SUCCEEDED, provider_task_id=JOB),
    look_up(Claim.RUNNING, provider_task_id=JOB, external_id=QUEUED.id),
)
REPLIES = (
    reply(Claim.ACCEPTED, provider_task_id=JOB),
    reply(Claim.AMBIGUOUS),
    reply(Claim.REFUSED),
    reply(Claim.DEFERRED),
    reply(Claim.ACCEPTED),
)
VERDICTS = (
    push(Claim.SUCCEEDED, outputs=(OUTPUT,)),
    poll(Claim.SUCCEEDED, provider_task_id=JOB, outputs=(OUTPUT,)),
    push(Claim.FAILED),
    poll(Claim.FAILED, provider_task_id=JOB),
)
ORDERS = (order(Claim.ADOPT, job=JOB), order(Claim.ADOPT, job="job-9"), order(Claim.RESUBMIT), order(Claim.ABANDON))
SURPLUS = push(Claim.SUCCEEDED, provider_task_id="job-2", outputs=(Output(url="https://cdn.example.com/b.mp4"),))


@st.composite
def lives(draw: st.DrawFn) -> list[tuple[Observation, bool]]:
    """What may be heard of one task, from its creation on: mostly what is likely, at times anything; time only moves on."""
    heard, now = [], START
    for _ in range(draw(st.integers(1, 40))):
        now += draw(st.sampled_from([0, 1, SECOND, 10 * SECOND, 30 * SECOND, MINUTE, MINUTE, 10 * MINUTE, 6 * HOUR]))
        likely = st.one_of(
            st.just(intent(now, by=now + 30 * SECOND)),
            st.sampled_from([look_up(Claim.ABSENT), reply(Claim.AMBIGUOUS), see(Claim.OVERDUE, Source.DEADLINE)]),
            st.sampled_from([*TELLS, *REPLIES]),
            st.sampled_from(ORDERS),
        )
        seldom = st.one_of(st.sampled_from([*VERDICTS, SURPLUS]), OBSERVATIONS)
        seen = draw(likely if draw(st.integers(0, 9)) else seldom)
        lag = draw(st.sampled_from([0, 0, SECOND]))
        heard.append((replace(seen, at=now - lag), draw(st.booleans()) and seen.reading.provider_task_id == "job-2"))
    return heard


@settings(max_examples=examples(300), deadline=None)
@given(lives(), st.booleans())
def test_at_most_one_hard_end_is_told_and_at_most_one_soft_one_before_it(
    heard: list[tuple[Observation, bool]], look: bool
) -> None:
    life = Life(look_up=look)
    for seen, taken in heard:
        life.hear(seen, now=seen.at + SECOND, taken=taken)
    ends = [
        draft
        for draft in life.drafts
        if draft.type.value.split(".")[1] in ("succeeded", "failed", "canceled", "expired")
    ]
    assert [draft.hard for draft in ends] in ([], [True], [False], [False, True])
    facts = [(draft.type, draft.discriminator) for draft in life.drafts if draft.type is not EventType.TASK_CONFLICT]
    assert len(facts) == len(set(facts))  # two events never share an id
    assert life.task.sequence == len(life.drafts)
    assert (life.task.finished_at is not None) == bool(ends)


@st.composite
def searches(draw: st.DrawFn) -> list[Observation]:
    """What may be heard of a task whose purchase is in doubt; whoever may want to buys at any moment."""
    heard, now = [], START
    for _ in range(draw(st.integers(1, 40))):
        now += draw(st.sampled_from([0, 1, SECOND, 5 * SECOND, 30 * SECOND, 2 * MINUTE, 5 * MINUTE]))
        empty, lag = look_up(Claim.ABSENT, now), draw(st.sampled_from([0, 0, 0, SECOND, MINUTE]))
        others = [
            reply(Claim.AMBIGUOUS),
            reply(Claim.DEFERRED),
            reply(Claim.REFUSED),
            look_up(Claim.UNREACHABLE),
            poll(Claim.ABSENT),
        ]
        seen = draw(st.one_of(st.just(empty), st.just(intent(now, by=now + 30 * SECOND)), st.sampled_from(others)))
        heard.append(replace(seen, at=now - lag))
        if draw(st.booleans()):
            heard.append(intent(now, by=now + 30 * SECOND))
    return heard


@settings(max_examples=examples(400), deadline=None)
@given(searches(), st.sampled_from([True, True, True, False]))
def test_a_second_submission_is_never_made_on_a_guess(heard: list[Observation], look: bool) -> None:
    """Held against an oracle that knows nothing of streaks: it counts the empty look-ups since the fate became unknown."""
    life, now = Life(UNCONFIRMED, look_up=look), START
    settled_at, doubts = SUBMIT_BY + SETTLE, 1
    empty: list[int] = []
    for seen in heard:
        now = max(now, seen.at)
        before = life.task
        life.hear(seen, now=now)
        if life.task.submissions > before.submissions and doubts:
            assert look
            assert doubts == 1
            assert len(empty) >= 3
            assert max(empty) >= settled_at
            doubts += 1
        if seen.source is Source.LOOK_UP and seen.claim is Claim.ABSENT:
            empty.append(seen.at)
    assert life.task.status in (TaskStatus.UNCONFIRMED, TaskStatus.SUBMITTING, TaskStatus.EXPIRED)
    assert life.task.charge is Charge.POSSIBLE


def test_the_search_does_reach_a_second_submission() -> None:
    """Without such a life the property above would hold of nothing."""
    found = find(
        searches(),
        bought_again,
        settings=settings(max_examples=2000, deadline=None, derandomize=True, phases=[Phase.generate]),
    )
    assert len(found) >= 4


def bought_again(heard: list[Observation]) -> bool:
    life, now = Life(UNCONFIRMED), START
    for seen in heard:
        now = max(now, seen.at)
        life.hear(seen, now=now)
    return life.task.resends == 1


@settings(max_examples=examples(200), deadline=None)
@given(lives())
def test_replaying_what_was_recorded_reproduces_the_row(heard: list[tuple[Observation, bool]]) -> None:
    """Also without what was ignored: only observations that did something need to be kept."""
    life, kept = Life(), []
    for seen, taken in heard:
        if life.hear(seen, now=seen.at + SECOND, taken=taken).outcome is not Outcome.IGNORED:
            kept.append((seen, taken))
    again = Life()
    for seen, taken in kept:
        again.hear(seen, now=seen.at + SECOND, taken=taken)
    assert (again.task, again.drafts) == (life.task, life.drafts)


INCONCLUSIVE: Sequence[dict[str, Any]] = (
    {"claim": Claim.UNREACHABLE},
    {"claim": Claim.UNKNOWN},
    {"claim": Claim.UNKNOWN, "provider_status": "odd"},
    {"claim": Claim.SUCCEEDED},
    {"claim": Claim.ABSENT},
    {"claim": Claim.RUNNING},
    {"claim": Claim.WAITING},
    {"claim": Claim.RUNNING, "provider_task_id": "job-2"},
    {"claim": Claim.FAILED, "provider_task_id": "job-2", "external_id": "task_2"},
    {"claim": Claim.DEFERRED},
)


@settings(max_examples=examples(300), deadline=None)
@given(
    st.sampled_from([PROCESSING, RUNNING, UNCONFIRMED]),
    st.lists(st.tuples(st.sampled_from(INCONCLUSIVE), st.booleans()), min_size=1, max_size=6),
    st.floats(0, 1),
    st.integers(0, 5),
)
def test_every_task_ends_whatever_its_provider_answers(
    task: Task, answers: list[tuple[dict[str, Any], bool]], jitter: float, skip: int
) -> None:
    """Asked whenever it is due, answered in circles by a provider that never settles anything."""
    life, now, asked, late = Life(task), START, 0, 0
    while life.task.status in OPEN_STATUSES:
        assert life.task.due_at is not None
        now = max(now + SECOND, life.task.due_at)
        answer, taken = answers[asked % len(answers)] if asked % (skip + 2) else ({"claim": Claim.UNREACHABLE}, False)
        source = Source.POLL if life.task.provider_task_id is not None else Source.LOOK_UP
        life.hear(
            see(**answer, source=source, at=now),
            jitter=jitter,
            taken=taken and answer.get("provider_task_id") is not None,
        )
        if now < DEADLINE and life.task.status is UNCONFIRMED.status:
            life.hear(intent(now, by=now + 30 * SECOND))
        if life.task.status is TaskStatus.SUBMITTING:
            life.hear(reply(Claim.AMBIGUOUS, now))
        asked += 1
        late += now >= DEADLINE
        assert late <= 40
        assert asked < 2000
    assert now <= DEADLINE + HOUR


# Any order


def live(heard: Sequence[Observation], task: Task = SUBMITTING) -> Life:
    life = Life(task)
    for place, seen in enumerate(heard):
        life.hear(replace(seen, at=START + SECOND + place))
    return life


@settings(max_examples=examples(300), deadline=None)
@given(
    st.sampled_from(REPLIES),
    st.lists(st.sampled_from(TELLS), max_size=5),
    st.lists(st.sampled_from(VERDICTS), min_size=1, max_size=3),
    st.sampled_from([[], [SURPLUS]]),
    st.data(),
)
def test_c1_any_order_and_any_repetition_ends_in_the_same_end_or_in_a_recorded_conflict(
    answer: Observation,
    tells: list[Observation],
    verdicts: list[Observation],
    surplus: list[Observation],
    data: st.DataObject,
) -> None:
    heard = [answer, *tells, *verdicts, *surplus]
    lives = []
    for _ in range(2):
        again = data.draw(st.lists(st.sampled_from(heard), max_size=5))
        lives.append(live(data.draw(st.permutations(heard + again))))
    for life in lives:
        assert len(life.hard) == 1
        assert life.task.final
    one, other = lives
    if not (one.conflicts or other.conflicts):
        assert (one.task.status, one.task.outputs) == (other.task.status, other.task.outputs)
    if (one.task.status, one.task.outputs) != (other.task.status, other.task.outputs):
        assert one.conflicts
        assert other.conflicts


def test_c1_a_reply_a_push_and_a_poll_in_all_their_orders() -> None:
    heard = (
        reply(Claim.ACCEPTED, provider_task_id=JOB),
        push(Claim.RUNNING),
        push(Claim.SUCCEEDED, outputs=(OUTPUT,)),
        poll(Claim.RUNNING, provider_task_id=JOB),
        poll(Claim.SUCCEEDED, provider_task_id=JOB, outputs=(OUTPUT,)),
    )
    for arranged in permutations(heard):
        life = live([*arranged, *arranged])
        assert (life.task.status, life.task.outputs, life.conflicts) == (TaskStatus.SUCCEEDED, (OUTPUT,), [])
        assert life.told[0] is EventType.TASK_SUBMITTED
        assert life.told[-1] is EventType.TASK_SUCCEEDED
        assert len(life.told) in (2, 3)


def test_c5_a_push_heard_a_hundred_times_is_heard_once() -> None:
    life = live([push(Claim.RUNNING)] * 100)
    assert (life.task.version, len(life.drafts)) == (2, 2)
    life = live([push(Claim.SUCCEEDED, outputs=(OUTPUT,))] * 100)
    assert (life.task.version, len(life.drafts)) == (2, 2)


@settings(max_examples=examples(200), deadline=None)
@given(st.sampled_from(SOFT_ENDS), st.permutations([*TELLS, VERDICTS[0], VERDICTS[1]]))
def test_t12_in_any_order_a_late_success_is_told_once(task: Task, heard: list[Observation]) -> None:
    life = Life(task)
    for place, seen in enumerate(heard):
        life.hear(replace(seen, at=DEADLINE + HOUR + place))
    assert (life.task.status, life.task.late, len(life.hard)) == (TaskStatus.SUCCEEDED, True, 1)


# Which pushes are worth a query


def ringing(task: Task) -> set[Claim]:
    said = (Claim.WAITING, Claim.RUNNING, Claim.SUCCEEDED, Claim.FAILED, Claim.UNKNOWN)
    return {claim for claim in said if rings(task, Reading(claim=claim, provider_task_id=task.provider_task_id))}


EVERYTHING = {Claim.WAITING, Claim.RUNNING, Claim.SUCCEEDED, Claim.FAILED, Claim.UNKNOWN}
ENDS = {Claim.SUCCEEDED, Claim.FAILED, Claim.UNKNOWN}


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (replace(QUEUED, submissions=1), EVERYTHING),
        (SUBMITTING, EVERYTHING),
        (UNCONFIRMED, EVERYTHING),
        (EXPIRED_UNBOUND, EVERYTHING),
        (PROCESSING, ENDS | {Claim.RUNNING}),
        (RUNNING, ENDS),
        (EXPIRED, ENDS),
        *((task, set()) for task in HARD_ENDS),
    ],
)
def test_a_push_rings_when_it_claims_something_ahead_or_cannot_be_read(task: Task, expected: set[Claim]) -> None:
    assert ringing(task) == expected


@pytest.mark.parametrize("claim", sorted(EVERYTHING))
def test_c9_a_push_about_another_job_rings_for_the_tokens_own_task(claim: Claim) -> None:
    assert rings(RUNNING, Reading(claim=claim, provider_task_id="job-2"))
    assert not rings(CANCELED, Reading(claim=claim, provider_task_id="job-2"))


@settings(max_examples=examples(150), deadline=None)
@given(lives(), st.sampled_from(sorted(EVERYTHING)), JOBS, st.sampled_from([(), (OUTPUT,)]))
def test_a_push_that_could_move_the_task_always_rings(
    heard: list[tuple[Observation, bool]], claim: Claim, job: str | None, outputs: tuple[Output, ...]
) -> None:
    """What decides where pushes are trusted must at least make us ask where they are not."""
    life = Life()
    for seen, taken in heard:
        life.hear(seen, now=seen.at + SECOND, taken=taken)
    pushed = push(claim, heard[-1][0].at, provider_task_id=job, outputs=outputs)
    step = advance(life.task, pushed, rules(pushed.at + SECOND))
    if step.task.status is not life.task.status:
        assert rings(life.task, pushed.reading)
