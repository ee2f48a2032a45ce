"""What an end says of itself, and what it may have cost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.core.ending import charge_of, ended, paid, with_cost
from service.core.observation import Claim, Reading
from storage.records import Charge, Failure, FailureCode, Streak, TaskStatus
from tests.service.core.builders import DEADLINE, EXPIRED, HOUR, PERMITTED, QUEUED, RUNNING, START, rules

NOW = START + HOUR
WHY = Failure(code=FailureCode.PROVIDER_ERROR, message="why")


def reading(charged: str | None = None, unit: str | None = None) -> Reading:
    return Reading(claim=Claim.SUCCEEDED, charged=charged, cost_unit=unit)


def test_a_final_end_is_never_due_again_and_forgets_its_waits() -> None:
    waiting = replace(RUNNING, streak=Streak.LAG, streak_count=2, streak_since=NOW, streak_last_at=NOW)
    end = ended(waiting, TaskStatus.FAILED, rules(NOW), final=True, charge=Charge.POSSIBLE, failure=WHY)
    assert (end.final_at, end.finished_at, end.due_at, end.phase) == (NOW, NOW, None, None)
    assert (end.streak, end.streak_count, end.streak_since, end.streak_last_at) == (None, 0, None, None)
    assert (end.failure, end.late) == (WHY, False)


def test_an_end_that_is_not_final_is_watched_where_there_is_something_to_watch() -> None:
    end = ended(RUNNING, TaskStatus.EXPIRED, rules(NOW), final=False, charge=Charge.POSSIBLE)
    assert (end.final_at, end.finished_at, end.due_at) == (None, NOW, NOW + HOUR)
    assert ended(QUEUED, TaskStatus.EXPIRED, rules(NOW), final=False, charge=Charge.POSSIBLE).due_at is None


def test_an_end_uses_up_a_permission_to_buy() -> None:
    end = ended(PERMITTED, TaskStatus.EXPIRED, rules(NOW), final=False, charge=Charge.POSSIBLE)
    assert end.permitted_at is None


def test_a_late_success_takes_the_failure_back() -> None:
    end = ended(EXPIRED, TaskStatus.SUCCEEDED, rules(DEADLINE + HOUR), final=True, charge=Charge.ESTIMATED)
    assert (end.late, end.failure, end.finished_at) == (True, None, DEADLINE + HOUR)


def test_an_end_keeps_the_last_word_it_was_given() -> None:
    silent = ended(RUNNING, TaskStatus.FAILED, rules(NOW), final=True, charge=Charge.NONE, reading=reading())
    assert silent.provider_status == "processing"
    spoken = replace(reading("5", "unit"), provider_status="succeed")
    end = ended(RUNNING, TaskStatus.SUCCEEDED, rules(NOW), final=True, charge=Charge.CONFIRMED, reading=spoken)
    assert (end.provider_status, end.cost_charged, end.cost_unit) == ("succeed", "5", "unit")


@pytest.mark.parametrize(
    ("charged", "expected"),
    [
        (None, Charge.POSSIBLE),
        ("5", Charge.CONFIRMED),
        ("0", Charge.NONE),
        ("NaN", Charge.POSSIBLE),
        ("-1", Charge.POSSIBLE),
    ],
)
def test_a_stated_amount_is_certain_and_nonsense_states_none(charged: str | None, expected: Charge) -> None:
    assert charge_of(RUNNING, reading(charged), Charge.POSSIBLE) is expected


def test_what_was_confirmed_stays_confirmed_until_somebody_states_otherwise() -> None:
    confirmed = replace(RUNNING, charge=Charge.CONFIRMED)
    assert charge_of(confirmed, None, Charge.POSSIBLE) is Charge.CONFIRMED
    assert charge_of(confirmed, reading(), Charge.POSSIBLE) is Charge.CONFIRMED
    assert charge_of(confirmed, reading("0"), Charge.POSSIBLE) is Charge.NONE


@pytest.mark.parametrize("charged", [None, "0", "NaN"])
def test_an_open_task_is_not_paid_by_zero_or_nonsense(charged: str | None) -> None:
    assert paid(RUNNING, reading(charged, "unit")) is RUNNING


def test_an_open_task_notes_what_it_is_told_to_cost() -> None:
    task = paid(RUNNING, reading("5", "credit"))
    assert (task.charge, task.cost_charged, task.cost_unit) == (Charge.CONFIRMED, "5", "credit")
    assert paid(task, reading()) is task


def test_a_cost_without_a_unit_keeps_the_estimates_unit() -> None:
    assert with_cost(replace(RUNNING, cost_unit="unit"), reading("5")).cost_unit == "unit"


def test_a_charge_in_another_unit_takes_the_estimate_and_its_price_away() -> None:
    priced = replace(RUNNING, cost_unit="unit", cost_estimated="4", unit_price="0.14 USD")
    same = with_cost(priced, reading("4.2", "unit"))
    assert (same.cost_unit, same.cost_estimated, same.cost_charged, same.unit_price) == ("unit", "4", "4.2", "0.14 USD")
    cash = with_cost(priced, reading("0.56", "USD"))
    assert (cash.cost_unit, cash.cost_estimated, cash.cost_charged, cash.unit_price) == ("USD", None, "0.56", None)
