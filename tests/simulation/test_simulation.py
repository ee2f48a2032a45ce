"""The simulation itself: it holds, it repeats to the bit, and it can fail."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.core import buying, delivery
from service.core.buying import Resend
from service.core.lifecycle import Rules
from service.pipeline import publish
from service.pipeline.account import AccountLane
from storage import callbacks
from storage.database import Connection
from storage.records import Event, Task, TaskStatus
from tests.simulation.faults import Misfortune, Order, Plan, Weather
from tests.simulation.machine import Machine
from tests.simulation.markers import MARKERS
from tests.simulation.network import Client
from tests.simulation.run import run_seed, workplace
from tests.simulation.simulation import Simulation, Verdict

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with workplace() as made:
        yield made


@pytest.mark.parametrize("seed", range(4))  # and in CI three hundred, by `make simulate`
def test_what_is_promised_holds(seed: int, folder: Path) -> None:
    verdict = run_seed(seed, folder)
    assert verdict.violations == [], "\n".join(verdict.lines)


@pytest.mark.parametrize("seed", [8, pytest.param(40010, marks=pytest.mark.slow)])
def test_a_seed_replays_to_the_bit_in_another_process(seed: int) -> None:
    told = [again(seed, hashes) for hashes in ("1", "2")]
    assert told[0] == told[1]
    assert re.search(r"trace [0-9a-f]{24}", told[0])


def again(seed: int, hashes: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hashes}
    command = [sys.executable, "-m", "tests.simulation", "--seed", str(seed), "--trace"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


def test_different_seeds_are_different_stories(folder: Path) -> None:
    assert run_seed(20, folder).trace != run_seed(21, folder).trace


def test_every_marker_that_is_reached_is_explained(folder: Path) -> None:
    reached = {name for seed in range(30, 36) for name in run_seed(seed, folder).markers}
    assert reached and reached <= set(MARKERS)


# It can fail


def order(number: int = 0, contract: str = "cloudsway", model: str = "kling-3.0-turbo", **more: object) -> Order:
    given: dict[str, object] = {
        "at": 1.0, "project": "north", "manners": "seconds=20", "deadline": 1800, "reference": True, "webhook": True, **more,
    }  # fmt: skip
    return Order(number=number, contract=contract, model=model, **given)  # type: ignore[arg-type]


def plan(*orders: Order, **more: object) -> Plan:
    given: dict[str, object] = {
        "quiet_at": 60.0,
        "callbacks": dict.fromkeys(("cloudsway", "acedata", "ulazai", "apiinone"), "verify"),
        "endpoints": [
            {"number": 0, "project": "north", "events": ["*"], "temper": "well", "max_in_flight": None},
            {"number": 1, "project": "south", "events": ["*"], "temper": "well", "max_in_flight": None},
        ],
        "job_seconds": 20.0,
        **more,
    }
    return Plan(seed=1, orders=list(orders), **given)  # type: ignore[arg-type]


def rules_broken(verdict: Verdict) -> set[str]:
    return {violation.partition(":")[0] for violation in verdict.violations}


def outcome(plan: Plan, folder: Path) -> Verdict:
    return Simulation(plan, folder).run()


LATE = Weather(late=1.0)


def at_once(task: Task, rules: Rules) -> Resend | None:
    """A purchase whose answer did not come is made again without waiting."""
    return Resend.ABSENT if task.status is TaskStatus.UNCONFIRMED and rules.now < task.deadline_at else None


def test_sending_again_at_once_buys_twice(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    story = plan(*(order(number, at=1.0 + number) for number in range(6)), weather=LATE, quiet_at=300.0)
    assert outcome(story, folder).violations == []
    monkeypatch.setattr(buying, "why_resend", at_once)
    assert "I1" in rules_broken(outcome(story, folder))


def test_a_worker_without_the_guard_at_its_socket_buys_twice(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    freezes = [[Misfortune(kind="freeze", at=0.1, machine=number, seconds=260.0)] for number in range(2)]
    stories = [plan(order(), replicas=2, misfortunes=freeze, quiet_at=300.0) for freeze in freezes]
    kept = [outcome(one, folder) for one in stories]
    assert [one.violations for one in kept] == [[], []]
    assert sum(one.markers["guard refusal"] for one in kept) == 1, "one of the two replicas had the lane"
    monkeypatch.setattr(Client, "_too_late", lambda self, errand: False)
    assert any("I1" in rules_broken(outcome(one, folder)) for one in stories)


def test_a_purchase_that_a_dead_process_had_announced_is_not_forgotten(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    kill = Misfortune(kind="kill", at=0.1, point="buy", nth=1, steps=1, seconds=5.0)
    story = plan(order(), misfortunes=[kill])
    assert outcome(story, folder).violations == []

    async def forget(self: AccountLane) -> None:
        self._recovered = True

    monkeypatch.setattr(AccountLane, "_recover", forget)
    assert "I12" in rules_broken(outcome(story, folder))


def test_a_forgotten_doorbell_is_heard(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    story = plan(
        order(manners="seconds=100", deadline=60), quiet_at=150.0
    )  # expired by then; the next question would be an hour away
    assert outcome(story, folder).violations == []

    async def deaf(tx: Connection, account: str, *, batch: int) -> list[tuple[str, str, str, int]]:
        return []

    monkeypatch.setattr(callbacks, "unverified", deaf)
    assert "I12" in rules_broken(outcome(story, folder))


def test_an_id_of_its_own_for_each_attempt_is_seen(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    real: Callable[..., dict[str, str]] = delivery.headers_for

    def renamed(event_id: str, timestamp: int, signature: str, attempt: int, *more: str) -> dict[str, str]:
        headers = real(event_id, timestamp, signature, attempt, *more)
        return {**headers, "webhook-id": f"{event_id}{attempt}"}

    monkeypatch.setattr(delivery, "headers_for", renamed)
    assert "I6" in rules_broken(outcome(plan(order()), folder))


def test_an_event_that_somebody_is_not_owed_is_seen_by_the_audit_too(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    real = publish._subscribers

    def forgetful(event: Event, *more: Any) -> Iterator[tuple[str, str | None]]:
        return iter(()) if event.type == "task.succeeded" else real(event, *more)

    monkeypatch.setattr(publish, "_subscribers", forgetful)
    assert {"I5", "audit"} <= rules_broken(outcome(plan(order()), folder))


def test_a_secret_in_the_log_is_seen(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    real = Machine._committed

    def chatty(self: Machine) -> None:
        real(self)
        if self.commits == 3:
            logging.getLogger("taskrelay.test").warning("serving with %s", self.sim.keys_of["north"])

    monkeypatch.setattr(Machine, "_committed", chatty)
    assert "I11" in rules_broken(outcome(plan(order()), folder))
