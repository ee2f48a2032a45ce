from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from service.cli.demo.ledger import Ledger, Order, opening, page, verdict
from tests.service.cli.demo.records import job, played, received


def order(number: int, name: str) -> Order:
    """One that went well."""
    made = Order(number=number, scene=played(name).scene, id=f"task_{name}")
    made.task = {"id": made.id, "status": "succeeded", "finished_at": "2026-01-01T00:00:00Z"}
    made.jobs = [job(name, taken=name == "pushed")]
    made.received = [{**received(name), "sha256": "a"}]
    return made


@pytest.fixture
def ledger() -> Ledger:
    """One in which everything went well."""
    audit = {"counts": {"unexplained": 0, "owed": 2, "pending": 0}, "unexplained": []}
    orders = [order(1, "pushed"), order(2, "polled")]
    return Ledger(seed=7, kills=20, orders=orders, audit=audit, recoveries=[0.5, 1.25], seconds=31.6)


def rows(ledger: Ledger) -> dict[str, str]:
    return {line[4:26].strip(): line[26:32].strip() for line in page(ledger) if line}


def test_all_is_well_when_each_was_bought_ended_and_told_once(ledger: Ledger) -> None:
    assert ledger.faults() == []
    assert verdict(ledger, None, "x") == ["  PASS  0 missing, 0 bought twice   (32 s)"]
    assert rows(ledger) == {
        "tasks": "2",
        "kill -9": "20",
        "bought": "2",
        "bought twice": "0",
        "held, then settled": "0",
        "ended": "2",
        "delivered": "2",
        "missing": "0",
        "delivered again": "0",
        "longest recovery": "1.2",
        "last event": "-",
        "audit": "0",
    }


def test_the_same_event_again_is_counted_and_no_fault(ledger: Ledger) -> None:
    ledger.orders[0].received *= 2
    assert ledger.repeats == 1 and ledger.faults() == []
    assert "    delivered again            1   same id, same bytes" in page(ledger)


def bought_twice(ledger: Ledger) -> None:
    ledger.orders[0].jobs *= 2


def not_bought(ledger: Ledger) -> None:
    ledger.orders[0].jobs = []


def never_acknowledged(ledger: Ledger) -> None:
    ledger.orders[0].id = None


def not_ended(ledger: Ledger) -> None:
    ledger.orders[0].task = {"status": "processing", "finished_at": None}


def ended_otherwise(ledger: Ledger) -> None:
    ledger.orders[0].task["status"] = "failed"


def not_told(ledger: Ledger) -> None:
    ledger.orders[0].received = []


def told_by_a_stranger(ledger: Ledger) -> None:
    ledger.orders[0].received[0] |= {"valid": False, "reason": "No matching signature found"}


def told_twice(ledger: Ledger) -> None:
    ledger.orders[0].received.append({**received("pushed"), "webhook_id": "evt_other", "sha256": "b"})


def told_otherwise(ledger: Ledger) -> None:
    ledger.orders[0].received = [{**received("pushed", type="task.failed"), "sha256": "a"}]


def told_again_in_other_bytes(ledger: Ledger) -> None:
    ledger.orders[0].received.append({**ledger.orders[0].received[0], "sha256": "b"})


def unexplained(ledger: Ledger) -> None:
    ledger.audit = {"counts": {"unexplained": 1}, "unexplained": [{"message": "task_1 ended and nobody was told"}]}


def bought_for_nobody(ledger: Ledger) -> None:
    ledger.strangers = ["901: bought for nobody"]


def broken(ledger: Ledger) -> None:
    ledger.broken = "taskrelay ended by itself with code 3"


@pytest.mark.parametrize(
    ("harm", "fault"),
    [
        (bought_twice, "order-1 (pushed, cloudsway): 2 jobs bought, not 1"),
        (not_bought, "order-1 (pushed, cloudsway): 0 jobs bought, not 1"),
        (never_acknowledged, "order-1 (pushed, cloudsway): never acknowledged"),
        (not_ended, "order-1 (pushed, cloudsway): it is processing, not ended"),
        (ended_otherwise, "order-1 (pushed, cloudsway): it is failed, and its job succeeded"),
        (not_told, "order-1 (pushed, cloudsway): no event"),
        (told_by_a_stranger, "evt_P: the signature is not valid: No matching signature found"),
        (told_twice, "order-1 (pushed, cloudsway): told task.succeeded, task.succeeded, not one task.succeeded"),
        (told_otherwise, "order-1 (pushed, cloudsway): told task.failed, not one task.succeeded"),
        (told_again_in_other_bytes, "evt_P: came again with other bytes"),
        (unexplained, "audit: task_1 ended and nobody was told"),
        (bought_for_nobody, "901: bought for nobody"),
        (broken, "taskrelay ended by itself with code 3"),
    ],
)
def test_what_is_not_as_promised_is_a_fault(harm: Callable[[Ledger], None], fault: str, ledger: Ledger) -> None:
    harm(ledger)
    assert fault in ledger.faults()
    facts: dict[str, Any] = ledger.facts()
    assert facts["ok"] is False and fault in facts["faults"]
    assert any(fault in line for line in verdict(ledger, ".demo", "again")) and "FAIL" in verdict(ledger, "", "")[0]


def test_missing_and_bought_twice_are_counted(ledger: Ledger) -> None:
    bought_twice(ledger)
    told_by_a_stranger(ledger)
    assert (ledger.twice, ledger.missing, ledger.delivered) == (1, 1, 1)
    assert (rows(ledger)["bought twice"], rows(ledger)["missing"], rows(ledger)["bought"]) == ("1", "1", "3")


def test_what_was_held_and_settled_by_a_person_is_said(ledger: Ledger) -> None:
    ledger.orders[1].held = "adopted"
    assert any("settled by its dashboard: 1 adopted" in line for line in page(ledger))
    assert ledger.facts()["held"] == {"adopted": 1}


def test_a_failure_says_the_worst_where_to_look_and_how_to_draw_the_same_again(ledger: Ledger) -> None:
    ledger.strangers = [f"stranger {number}" for number in range(12)]
    lines = verdict(ledger, ".demo", "taskrelay demo --kill")
    assert lines[0] == "  FAIL  stranger 0" and lines[-2] == "        and 2 more" and len(lines) == 12
    assert lines[-1].endswith(
        "timelines .demo/orders.json   log .demo/taskrelay.log   again: taskrelay demo --kill --seed 7"
    )


def test_it_opens_with_its_seed() -> None:
    assert "20 tasks, 20 times kill -9" in opening(20, 20, 7)[0] and opening(20, 20, 7)[0].endswith("seed 7")
