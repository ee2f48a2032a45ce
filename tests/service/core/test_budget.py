"""What a task comes to in its project's books, and what may still be bought."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core import budget, fallback
from service.core.budget import Standing, booked, moved, slots_of
from service.core.fallback import Candidate
from service.core.times import DAY, iso, parse_iso
from storage.records import Allowance, Budget, BudgetPeriod, Charge, Surplus, Task, TaskStatus, evolve
from tests.storage.builders import task as row

AT = parse_iso("2026-11-30T23:59:59Z") or 0
MONTH = Budget(amount="50", currency="USD", period=BudgetPeriod.MONTH)
TOTAL = Budget(amount="50", currency="USD", period=BudgetPeriod.TOTAL)


def task(**more: Any) -> Task:
    """Queued, of 100 units at a cent."""
    plain = {"created_at": AT, "cost_unit": "unit", "cost_estimated": "100", "unit_price": "0.01 USD"}
    return row(**{**plain, **more})


def candidate(estimated: str | None, price: str | None = "0.01 USD") -> Candidate:
    return Candidate(
        account="b",
        provider="ulazai",
        model="m",
        input="{}",
        cost_unit="unit",
        cost_estimated=estimated,
        unit_price=price,
    )


def job(**more: Any) -> Surplus:
    return Surplus(
        **{"provider_task_id": "j", "account": "a", "found_at": 1, "unit": "unit", "estimated": "30", **more}
    )


def shown(one: Task) -> Mapping[str, str]:
    """Its slots without the month."""
    return {slot.removeprefix("2026-11 "): str(amount) for slot, amount in slots_of(one.booked).items()}


def then(first: Task, **more: Any) -> Mapping[str, str]:
    return shown(booked(evolve(booked(first), **more)))


RUNNING: dict[str, Any] = {"status": TaskStatus.PROCESSING, "charge": Charge.ESTIMATED}
OVER: dict[str, Any] = {"status": TaskStatus.SUCCEEDED, "final_at": AT, "charge": Charge.ESTIMATED}


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ({}, {"open": "1", "USD reserved": "1"}),
        (RUNNING, {"open": "1", "USD reserved": "1"}),
        ({**RUNNING, "charge": Charge.CONFIRMED, "cost_charged": "90"}, {"open": "1", "USD used": "0.9"}),
        ({"status": TaskStatus.UNCONFIRMED, "charge": Charge.POSSIBLE}, {"open": "1", "USD used": "1"}),
        ({"status": TaskStatus.EXPIRED, "charge": Charge.POSSIBLE}, {"USD used": "1"}),
        ({"status": TaskStatus.CANCELED, "final_at": AT}, {}),
        ({"status": TaskStatus.FAILED, "final_at": AT, "charge": Charge.REFUNDED}, {}),
        (OVER, {"USD used": "1"}),
        ({**OVER, "charge": Charge.CONFIRMED, "cost_charged": "150"}, {"USD used": "1.5"}),
        ({**OVER, "surplus": (job(unit_price="0.01 USD"),)}, {"USD used": "1.3"}),
        ({**OVER, "surplus": (job(unit_price="0.01 USD", charged="7"),)}, {"USD used": "1.07"}),
        ({"status": TaskStatus.FAILED, "final_at": AT, "surplus": (job(estimated=None),)}, {"USD used": "1"}),
    ],
)
def test_what_a_task_is_booked_with(now: dict[str, Any], told: Mapping[str, str]) -> None:
    assert then(task(), **now) == told


def test_what_nobody_can_tell_counts_as_what_was_set_aside() -> None:
    of_its_own_unit = {**OVER, "charge": Charge.CONFIRMED, "cost_charged": "3", "cost_unit": "credit"}
    assert then(task(), **of_its_own_unit, unit_price=None, cost_estimated=None) == {"USD used": "1"}
    assert then(task(), **of_its_own_unit, unit_price="2 EUR") == {"USD used": "1"}
    assert then(task(unit_price=None), **OVER) == {}, "nothing was set aside either"


def test_a_product_with_more_digits_than_a_price_may_have_is_booked_again_as_it_was() -> None:
    first = booked(task(cost_estimated="5.6", unit_price="0.333333333333333 USD"))  # ten dollars for thirty
    aside = {"open": "1", "USD reserved": "1.8666666666666648"}
    assert shown(first) == aside
    assert then(first, **RUNNING, cost_estimated=None) == aside


def test_the_dearest_who_may_be_asked_is_set_aside_as_long_as_it_may() -> None:
    others = fallback.dump([candidate("300"), candidate("200"), candidate(None), candidate("999", "1 EUR")])
    first = task(fallbacks=others)
    assert shown(booked(first)) == {"open": "1", "USD reserved": "3"}
    assert then(first, status=TaskStatus.SUBMITTING)["USD reserved"] == "3"
    assert then(first, **RUNNING) == {"open": "1", "USD reserved": "1"}
    named = {**RUNNING, "charge": Charge.POSSIBLE, "adopted_at": 1}
    assert then(first, **named)["USD used"] == "3", "a job that a person named may turn out not to be there"
    unsure = {"status": TaskStatus.UNCONFIRMED, "charge": Charge.POSSIBLE}
    assert then(first, **unsure)["USD used"] == "3"
    assert then(first, cost_estimated="200", fallbacks="[]")["USD reserved"] == "2"


def test_each_submission_after_one_in_doubt_counts_until_the_end_for_good() -> None:
    twice = {"status": TaskStatus.SUBMITTING, "charge": Charge.POSSIBLE, "submissions": 2, "resends": 1}
    assert then(task(), **twice) == {"open": "1", "USD used": "2"}
    assert then(task(), **twice | {"resends": 0}) == {"open": "1", "USD used": "1"}
    assert then(task(), **twice | OVER) == {"USD used": "1"}, "what is known by then counts"


def test_a_task_counts_in_the_month_it_was_made_in() -> None:
    [november] = [slot for slot in slots_of(booked(task()).booked) if slot != "open"]
    [december] = [slot for slot in slots_of(booked(task(created_at=AT + 1_000_000)).booked) if slot != "open"]
    assert (november, december) == ("2026-11 USD reserved", "2026-12 USD reserved")


AMOUNTS = st.decimals(min_value=0, max_value=10**9, places=6).map(lambda one: format(one, "f"))
LIVES = st.lists(
    st.fixed_dictionaries(
        {
            "status": st.sampled_from(TaskStatus),
            "charge": st.sampled_from(Charge),
            "cost_charged": st.none() | AMOUNTS,
            "resends": st.integers(0, 2),
            "submissions": st.integers(0, 3),
            "final_at": st.none() | st.just(AT),
        }
    ),
    max_size=5,
)


@given(AMOUNTS, LIVES)
def test_moves_add_up_to_where_a_task_stands(estimated: str, life: list[dict[str, Any]]) -> None:
    now = booked(task(cost_estimated=estimated))
    sums = budget.total({}, moved(None, now.booked).items())
    for change in life:
        after = booked(evolve(now, **change))
        sums = budget.total(sums, moved(now.booked, after.booked).items())
        now = after
    assert {slot: amount for slot, amount in sums.items() if amount} == slots_of(now.booked)


def test_nothing_moves_where_nothing_changes() -> None:
    one = booked(task())
    assert booked(one) == one and moved(one.booked, one.booked) == {}
    assert orjson.loads(one.booked or "")["held"] == "1 USD"


# What may be bought


def of(sums: Mapping[str, str], wanted: Budget | None, most: int | None = None, at: int = AT) -> Standing:
    return budget.standing(
        {slot: Decimal(amount) for slot, amount in sums.items()}, Allowance(budget=wanted, max_open_tasks=most), at
    )


SUMS = {
    "open": "2",
    "2026-10 USD used": "5",
    "2026-11 USD used": "7",
    "2026-11 USD reserved": "1",
    "2026-11 EUR used": "9",
}


def test_a_month_counts_its_own_and_a_total_all() -> None:
    assert of(SUMS, MONTH) == Standing(used=Decimal(7), reserved=Decimal(1), open=2)
    assert of(SUMS, TOTAL) == Standing(used=Decimal(12), reserved=Decimal(1), open=2)
    assert of(SUMS, MONTH, at=AT + DAY) == Standing(open=2)
    assert of(SUMS, None) == Standing(open=2)


@pytest.mark.parametrize(
    ("needed", "code"), [("0", None), ("42", None), ("42.000001", "budget_exhausted"), ("50", "budget_exhausted")]
)
def test_the_last_that_fits_is_taken_and_no_more(needed: str, code: str | None) -> None:
    refusal = budget.refusal(Allowance(budget=MONTH), of(SUMS, MONTH), Decimal(needed), "prj_1")
    assert (refusal.code if refusal is not None else None) == code


def test_a_refusal_says_what_there_is_and_what_to_do() -> None:
    told = budget.refusal(
        Allowance(budget=MONTH), Standing(used=Decimal("47.85"), reserved=Decimal("1.35")), Decimal("1.35"), "prj_1"
    )
    assert told is not None and told.text == (
        "49.20 of 50.00 USD used; this task needs 1.35. Raise it: PATCH /v1/projects/prj_1. "
        "Of what is used, 1.35 is reserved for tasks that go on."
    )
    full = budget.refusal(Allowance(max_open_tasks=2), Standing(open=2), Decimal(0), "prj_1")
    assert full is not None and full.code == "too_many_open_tasks" and full.text.startswith("2 tasks are open")
    assert budget.refusal(Allowance(max_open_tasks=3), Standing(open=2), Decimal(0), "prj_1") is None


@pytest.mark.parametrize(("amount", "text"), [("50", "50.00"), ("0.5", "0.50"), ("1.355", "1.355"), ("0.10", "0.10")])
def test_money_is_written_with_two_places_at_least(amount: str, text: str) -> None:
    assert budget.spelled(Decimal(amount)) == text


def test_the_view_says_what_is_left_and_when_it_begins_again() -> None:
    shown = budget.view(Allowance(budget=MONTH, max_open_tasks=7), of(SUMS, MONTH), AT)
    assert shown == {
        "max_open_tasks": 7,
        "budget": {
            "amount": "50",
            "currency": "USD",
            "period": "month",
            "used": "7",
            "reserved": "1",
            "remaining": "42",
            "resets_at": "2026-12-01T00:00:00.000000Z",
        },
    }
    over: Any = budget.view(Allowance(budget=TOTAL), Standing(used=Decimal(99)), AT)["budget"]
    assert (over["remaining"], over["resets_at"]) == ("0", None)


def test_a_month_starts_at_its_first_instant() -> None:
    for day in range(800):
        at = AT + day * DAY
        assert iso(budget.month_starts(at)) == f"{iso(at)[:7]}-01T00:00:00.000000Z"
