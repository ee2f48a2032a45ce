"""A job too many is on the bill of its task, whatever the task's own job cost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.core.observation import Claim, Observation, Reading, Source
from service.core.surplus import KEPT, charge_told, counted, without
from storage.records import Charge, Surplus, Task
from tests.service.core.builders import (
    ADOPTED,
    CANCELED,
    FAILED,
    JOB,
    MINUTE,
    OUTPUT,
    PROCESSING,
    QUEUED,
    REFUSED,
    RUNNING,
    START,
    SUCCEEDED,
    UNCONFIRMED,
    Life,
    intent,
    look_up,
    poll,
    push,
    reply,
    see,
)

NOW = START + MINUTE
PRICE = {"cost_unit": "unit", "cost_estimated": "4", "unit_price": "0.01 USD"}
ONE_TOO_MANY = Surplus(
    provider_task_id="job-2", account="main", found_at=NOW, unit="unit", estimated="4", unit_price="0.01 USD"
)


@pytest.mark.parametrize(
    "seen",
    [
        reply(Claim.ACCEPTED, NOW, provider_task_id="job-2"),
        look_up(Claim.RUNNING, NOW, provider_task_id="job-2"),
        push(Claim.SUCCEEDED, NOW, provider_task_id="job-2", outputs=(OUTPUT,)),
        poll(Claim.RUNNING, NOW, provider_task_id="job-2", external_id=QUEUED.id),
    ],
    ids=["the reply to a second submission", "a look-up", "a push with our id", "a query answered with our id"],
)
@pytest.mark.parametrize("task", [RUNNING, SUCCEEDED, FAILED])
def test_however_it_is_found_it_is_on_the_bill_and_its_result_is_not_relayed(task: Task, seen: Observation) -> None:
    life = Life(replace(task, **PRICE))  # type: ignore[arg-type]
    life.hear(seen)
    assert life.task.surplus == (ONE_TOO_MANY,)
    assert (life.task.provider_task_id, life.task.outputs) == (JOB, task.outputs)
    assert life.conflicts == ["surplus:job-2"]


def test_all_that_a_look_up_finds_beside_the_first_are_on_the_bill() -> None:
    life = Life(UNCONFIRMED)
    life.hear(look_up(Claim.RUNNING, NOW, provider_task_id=JOB, external_id=QUEUED.id, also=("job-2", "job-3")))
    assert [one.provider_task_id for one in life.task.surplus] == ["job-2", "job-3"]


@pytest.mark.parametrize("task", [REFUSED, CANCELED, QUEUED])
def test_a_job_of_a_task_that_bought_nothing_is_on_the_bill(task: Task) -> None:
    life = Life(task)
    life.hear(push(Claim.RUNNING, NOW))
    assert [one.provider_task_id for one in life.task.surplus] == [JOB]
    assert charge_told(life.task) is Charge.POSSIBLE


def test_it_is_there_once_however_often_it_is_heard_of() -> None:
    life = Life(RUNNING)
    for claim in (Claim.RUNNING, Claim.RUNNING, Claim.SUCCEEDED):
        life.hear(push(claim, NOW, provider_task_id="job-2"))
    assert len(life.task.surplus) == 1


def test_what_the_provider_states_for_it_is_taken_over_without_forgetting_the_estimate() -> None:
    task = counted(replace(RUNNING, **PRICE), "job-2", "main", NOW)  # type: ignore[arg-type]
    stated = Reading(claim=Claim.SUCCEEDED, charged="3.5", cost_unit="unit")
    [one] = counted(task, "job-2", "main", NOW + MINUTE, stated).surplus
    assert one == replace(ONE_TOO_MANY, charged="3.5")
    [other] = counted(task, "job-2", "main", NOW, Reading(claim=Claim.FAILED, charged="0.4", cost_unit="USD")).surplus
    assert (other.charged, other.unit, other.estimated, other.unit_price) == ("0.4", "USD", None, None)


@pytest.mark.parametrize("charged", ["NaN", "-1", "", "x"])
def test_an_amount_that_is_none_is_not_taken_over(charged: str) -> None:
    task = counted(RUNNING, "job-2", "main", NOW)
    assert counted(task, "job-2", "main", NOW, Reading(claim=Claim.FAILED, charged=charged)) is task


def test_what_a_former_accounts_job_costs_is_not_known_any_more() -> None:
    life = Life(replace(RUNNING, account="spare", **PRICE))  # type: ignore[arg-type]
    life.hear(replace(see(Claim.RUNNING, Source.LOOK_UP, NOW, provider_task_id="job-2"), account="main"))
    [one] = life.task.surplus
    assert (one.account, one.unit, one.estimated) == ("main", None, None)


def test_beyond_twenty_they_are_told_and_not_kept() -> None:
    life = Life(RUNNING)
    for number in range(KEPT + 5):
        life.hear(push(Claim.RUNNING, NOW, provider_task_id=f"job-{number + 2}"))
    assert (len(life.task.surplus), len(life.conflicts)) == (KEPT, KEPT + 5)


@pytest.mark.parametrize(
    ("charge", "told"),
    [
        (Charge.NONE, Charge.POSSIBLE),
        (Charge.REFUNDED, Charge.POSSIBLE),
        (Charge.ESTIMATED, Charge.ESTIMATED),
        (Charge.CONFIRMED, Charge.CONFIRMED),
        (Charge.POSSIBLE, Charge.POSSIBLE),
    ],
)
def test_a_task_with_a_job_too_many_never_says_that_it_cost_nothing(charge: Charge, told: Charge) -> None:
    task = replace(FAILED, charge=charge)
    assert charge_told(task) is charge
    assert charge_told(replace(task, surplus=(ONE_TOO_MANY,))) is told


def test_taking_one_off_leaves_the_others() -> None:
    two = replace(ONE_TOO_MANY, provider_task_id="job-3")
    task = replace(RUNNING, surplus=(ONE_TOO_MANY, two))
    assert without(task, "job-2", "main").surplus == (two,)
    assert without(task, "job-2", "spare") is task


def test_a_query_that_answers_with_a_job_too_many_is_asked_again_at_the_usual_pace() -> None:
    life = Life(PROCESSING)
    life.hear(poll(Claim.RUNNING, NOW, provider_task_id="job-2", external_id=QUEUED.id))
    assert life.task.due_at is not None
    assert life.task.due_at > NOW


def test_a_second_purchase_that_both_replies_confirm_is_one_job_and_one_too_many() -> None:
    """A permission was used and the first reply came after all: nobody is told that it cost a single job."""
    life = Life(replace(UNCONFIRMED, permitted_at=START), look_up=False)
    second = NOW + 30_000_000
    life.hear(intent(NOW, by=second))
    life.hear(reply(Claim.ACCEPTED, NOW, provider_task_id="job-2", submission_deadline_at=second))
    life.hear(
        reply(Claim.ACCEPTED, NOW, provider_task_id=JOB, submission_deadline_at=UNCONFIRMED.submission_deadline_at)
    )
    assert (life.task.provider_task_id, [one.provider_task_id for one in life.task.surplus]) == ("job-2", [JOB])
    assert life.task.resends == 1


def test_evidence_against_an_adopted_job_puts_nothing_on_the_bill() -> None:
    life = Life(ADOPTED)
    life.hear(look_up(Claim.RUNNING, NOW, provider_task_id="job-2", external_id=QUEUED.id))
    assert life.task.surplus == ()
