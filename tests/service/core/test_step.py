"""One version a message, one number an event, and no row for nothing."""

from __future__ import annotations

from dataclasses import replace

from service.core.events import EventType
from service.core.observation import Claim, Reading
from service.core.step import Draft, Note, Outcome, both, conflict, ignored, move, said
from storage.records import Failure, FailureCode
from tests.service.core.builders import PROCESSING, START, rules

TOLD = Draft(type=EventType.TASK_PROCESSING)
NOW = START + 7


def test_where_nothing_is_new_there_is_no_step() -> None:
    step = move(PROCESSING, replace(PROCESSING), rules(NOW))
    assert step.outcome is Outcome.IGNORED
    assert step.task is PROCESSING


def test_a_new_due_time_is_a_version_but_no_news() -> None:
    step = move(PROCESSING, replace(PROCESSING, due_at=NOW, streak_count=3), rules(NOW))
    assert (step.outcome, step.task.version) == (Outcome.SCHEDULED, PROCESSING.version + 1)
    assert (step.task.updated_at, step.task.sequence) == (PROCESSING.updated_at, PROCESSING.sequence)


def test_what_a_reader_sees_is_news() -> None:
    step = move(PROCESSING, replace(PROCESSING, progress=5), rules(NOW))
    assert (step.outcome, step.task.updated_at) == (Outcome.CHANGED, NOW)


def test_a_note_needs_a_version_to_stand_under() -> None:
    step = move(PROCESSING, PROCESSING, rules(NOW), Note(kind="query_failed"))
    assert (step.outcome, step.task.version) == (Outcome.SCHEDULED, PROCESSING.version + 1)


def test_an_event_shows_the_task_under_its_own_number() -> None:
    step = move(PROCESSING, replace(PROCESSING, phase="running"), rules(NOW), None, TOLD)
    assert step.task.sequence == PROCESSING.sequence + 1
    assert [draft.task for draft in step.drafts] == [step.task]


def test_two_steps_of_one_message_share_a_version_and_number_their_events() -> None:
    first = conflict(PROCESSING, "surplus", "job-2", "why")
    second = move(first.task, replace(first.task, phase="running"), rules(NOW), Note(kind="running"), TOLD)
    step = both(first, second)
    assert (step.outcome, step.task.version) == (Outcome.CONFLICT, PROCESSING.version + 1)
    assert [(draft.task.sequence, draft.task.version) for draft in step.drafts if draft.task] == [(2, 3), (3, 3)]
    assert [note.kind for note in step.notes] == ["conflict", "running"]
    assert (step.task.phase, step.task.sequence) == ("running", 3)


def test_beside_a_step_an_ignored_one_is_nothing() -> None:
    step = conflict(PROCESSING, "surplus", "job-2", "why")
    assert both(step, ignored(step.task)) is step
    assert both(ignored(PROCESSING), step) is step


def test_the_same_contradiction_has_the_same_name() -> None:
    [one], [two] = (conflict(PROCESSING, "surplus", "job-2", why).drafts for why in ("heard", "heard again"))
    assert (one.type, one.discriminator, one.hard) == (EventType.TASK_CONFLICT, "surplus:job-2", False)
    assert (one.type, one.discriminator) == (two.type, two.discriminator)


def test_a_note_leaves_out_what_was_not_said() -> None:
    assert said("running", Reading(claim=Claim.RUNNING)).detail == {}
    failure = Failure(code=FailureCode.PROVIDER_ERROR, message="why")
    note = said("failed", Reading(claim=Claim.FAILED, provider_status="failed", failure=failure), tries=2)
    assert note.detail == {"provider_status": "failed", "message": "why", "tries": 2}


PRICED = replace(PROCESSING, cost_unit="credit", cost_estimated="100")


def test_another_charge_than_expected_is_told_with_both_amounts() -> None:
    step = move(PRICED, replace(PRICED, cost_charged="90"), rules(NOW), Note(kind="succeeded"))
    assert [note.kind for note in step.notes] == ["succeeded", "charged"]
    assert step.notes[1].detail == {"charged": "90", "unit": "credit", "expected": "100", "expected_unit": "credit"}
    later = move(step.task, replace(step.task, cost_charged="85"), rules(NOW))
    assert [note.detail["expected"] for note in later.notes] == ["90"]  # the provider's own last word


def test_the_charge_that_was_expected_is_not_worth_a_line() -> None:
    assert move(PRICED, replace(PRICED, cost_charged="100.0"), rules(NOW)).notes == ()
    unpriced = replace(PRICED, cost_estimated=None)
    assert move(unpriced, replace(unpriced, cost_charged="7"), rules(NOW)).notes == ()


def test_a_charge_in_another_unit_is_always_told() -> None:
    step = move(PRICED, replace(PRICED, cost_charged="100", cost_unit="USD", cost_estimated=None), rules(NOW))
    assert step.notes[0].detail == {"charged": "100", "unit": "USD", "expected": "100", "expected_unit": "credit"}
