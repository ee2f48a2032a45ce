"""The oracle sees every broken promise it counts: one small lie at a time, about a world that kept all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from service.sandbox.cloudsway import CONTRACT
from service.sandbox.directives import Directives
from service.sandbox.jobs import Asked, Attempt, Job, Phase, Push
from service.sandbox.world import World
from tests.kill.client import Client, Order
from tests.kill.facts import EventFact, Facts, TaskFact
from tests.kill.oracle import COUNTS, IN_FLIGHT, SECOND, SETTLED_TOGETHER, Oracle
from tests.kill.plan import KINDS
from tests.kill.receiver import Receipt

BODY = b'{"type": "task.succeeded"}'
PROMPT = "A paper boat, order-0 try 1"
NOW = 1_783_500_000.0


@dataclass
class Scene:
    """One task that was ordered, bought once, pushed, delivered; and its service was killed once, later."""

    oracle: Oracle
    facts: Facts
    receipts: list[Receipt]

    @property
    def job(self) -> Job:
        return next(iter(self.oracle.world.jobs.values()))

    def change(self, **fields: Any) -> None:
        self.facts.tasks["task_1"] = replace(self.facts.tasks["task_1"], **fields)

    def change_event(self, **fields: Any) -> None:
        self.facts.events["evt_1"] = replace(self.facts.events["evt_1"], **fields)

    def rules(self) -> set[str]:
        return {one.rule for one in (*self.oracle.after_kill(self.facts, 1), *self.oracle.at_end(self.facts))}


def receipt(**fields: Any) -> Receipt:
    told = {"event_id": "evt_1", "body": BODY, "sha256": hashlib.sha256(BODY).hexdigest(), "reason": None}
    return Receipt(**{**told, "status": 204, "at": NOW + 2, "answered_at": NOW + 2.1, **fields})


def asked(**fields: Any) -> Asked:
    return Asked(at=NOW, method="POST", path="/", query="", client="", headers={}, kind="create", **fields)


def scene(kind: str = "cloudsway") -> Scene:
    world = World()
    account = world.account("cloudsway", "key")
    assert account is not None
    job = Job(
        contract=replace(CONTRACT, name=kind),
        account=account,
        id="900",
        prompt=PROMPT,
        asked={},
        directives=Directives(),
        accepted_at=NOW,
        external_id="task_1" if kind == "cloudsway" else None,
        phase=Phase.SUCCEEDED,
        word="succeeded",
    )
    push = Push(webhook_id="1", word="succeeded", at=NOW + 1, body=b"pushed")
    push.attempts.append(Attempt(at=NOW + 1, ended_at=NOW + 1, status=200))
    job.pushes.append(push)
    world.jobs[job.id] = job
    world.accepted[kind] = type(world.open)({"task_1" if kind == "cloudsway" else PROMPT: 1})
    world.requests.append(asked(status=200, told={"prompt": PROMPT}))
    client = Client(kind=KINDS[kind], url="", key="", seed="")
    client.orders.append(Order(reference="order-0", does="", tries=1, id="task_1"))
    facts = Facts(pushes={hashlib.sha256(b"pushed").digest()})
    facts.tasks["task_1"] = TaskFact(
        id="task_1",
        reference="order-0",
        prompt=PROMPT,
        status="succeeded",
        provider_task_id="900",
        resends=0,
        finished=True,
        due_at=None,
    )
    facts.events["evt_1"] = EventFact(
        id="evt_1",
        task_id="task_1",
        type="task.succeeded",
        sequence=1,
        hard=True,
        body=BODY,
        wanted=True,
        delivered=True,
        attempts=1,
    )
    facts.submissions["task_1"] = [int((NOW - 1) * SECOND)]
    receipts = [receipt()]
    oracle = Oracle(kind=KINDS[kind], world=world, client=client, receipts=receipts)
    oracle.deaths.append(NOW + 60)
    return Scene(oracle, facts, receipts)


def in_doubt(one: Scene) -> None:
    """Nobody knows whether it was bought, and nobody died meanwhile."""
    one.oracle.world.jobs.clear()
    one.change(status="unconfirmed", provider_task_id=None, finished=False)
    one.change_event(type="task.unconfirmed", hard=False)


def unseen_doubt(one: Scene) -> None:
    in_doubt(one)
    one.facts.events.clear()
    one.oracle.deaths.append(NOW)


def shown_failed(one: Scene) -> None:
    one.change(status="failed", provider_task_id=None)


def no_create_announced(one: Scene) -> None:
    one.facts.submissions.clear()


def announced_late(one: Scene) -> None:
    one.facts.submissions["task_1"] = [int((NOW + 1) * SECOND)]


LIES: dict[str, tuple[str, str, Callable[[Scene], object]]] = {
    "an acknowledged task has no row": ("cloudsway", "tasks lost", lambda one: one.facts.tasks.clear()),
    "a purchase was made twice": (
        "cloudsway",
        "double submissions",
        lambda one: one.oracle.world.accepted["cloudsway"].update({"task_1": 1}),
    ),
    "a purchase was not announced": ("cloudsway", "unannounced creates", no_create_announced),
    "a purchase was announced afterwards": ("cloudsway", "unannounced creates", announced_late),
    "an acknowledged push is gone": ("cloudsway", "acked pushes lost", lambda one: one.facts.pushes.clear()),
    "a job belongs to nobody": ("cloudsway", "unbound jobs", lambda one: one.change(provider_task_id=None)),
    "a failed job is told as a success": (
        "cloudsway",
        "wrong ends",
        lambda one: setattr(one.job, "phase", Phase.FAILED),
    ),
    "a task that was never bought has succeeded": (
        "cloudsway",
        "wrong ends",
        lambda one: one.oracle.world.jobs.clear(),
    ),
    "a purchase in doubt is shown as failed": ("ulazai", "not visible", shown_failed),
    "a purchase in doubt is told to nobody": ("ulazai", "not visible", unseen_doubt),
    "a purchase is in doubt for no reason": ("ulazai", "needless doubt", in_doubt),
    "an ended task has no event": ("cloudsway", "second ends", lambda one: one.facts.events.clear()),
    "an end was told twice": (
        "cloudsway",
        "second ends",
        lambda one: one.facts.events.update({"evt_2": replace(one.facts.events["evt_1"], id="evt_2", sequence=2)}),
    ),
    "a sequence number is used twice": (
        "cloudsway",
        "second ends",
        lambda one: one.facts.events.update({"evt_2": replace(one.facts.events["evt_1"], id="evt_2", hard=False)}),
    ),
    "an event is owed to nobody": ("cloudsway", "events lost", lambda one: one.change_event(wanted=False)),
    "an event was not delivered": ("cloudsway", "events lost", lambda one: one.change_event(delivered=False)),
    "an event is said to be delivered and nobody heard it": (
        "cloudsway",
        "events lost",
        lambda one: one.receipts.clear(),
    ),
    "an event was only heard with a failure": (
        "cloudsway",
        "events lost",
        lambda one: one.receipts.__setitem__(0, receipt(status=500)),
    ),
    "a signature is wrong": ("cloudsway", "bad signatures", lambda one: one.receipts.append(receipt(reason="no"))),
    "the second attempt has other bytes": (
        "cloudsway",
        "changed bodies",
        lambda one: one.receipts.append(receipt(body=BODY + b" ")),
    ),
    "an event was sent that is not stored": (
        "cloudsway",
        "changed bodies",
        lambda one: one.receipts.append(receipt(event_id="evt_9")),
    ),
    "an event is sent again and nobody died": (
        "cloudsway",
        "needless duplicates",
        lambda one: one.receipts.append(receipt(at=NOW + 3)),
    ),
    "one kill repeats too much": (
        "cloudsway",
        "too many duplicates",
        lambda one: one.receipts.extend([receipt()] * (IN_FLIGHT + SETTLED_TOGETHER + 1)),
    ),
    "the client was told nonsense": ("cloudsway", "bad answers", lambda one: one.oracle.client.bad.append("500")),
}


@pytest.mark.parametrize("kind", ["cloudsway", "ulazai"])
def test_where_every_promise_was_kept_nothing_is_found(kind: str) -> None:
    assert scene(kind).rules() == set()


@pytest.mark.parametrize(("kind", "rule", "lie"), LIES.values(), ids=LIES)
def test_a_lie_is_found(kind: str, rule: str, lie: Callable[[Scene], object]) -> None:
    one = scene(kind)
    lie(one)
    assert rule in one.rules()


def test_every_rule_that_the_oracle_judges_has_its_lie() -> None:
    # Counted, or judged while the installation runs.
    by_the_stage = {"acked", "unexplained", "not quiet", "service errors"}
    assert set(COUNTS) - {rule for _, rule, _ in LIES.values()} == by_the_stage


def test_a_second_attempt_is_excused_by_a_death_in_between_or_by_the_first_ones_failure() -> None:
    died, failed = scene(), scene()
    died.receipts.append(receipt(at=NOW + 61))
    failed.receipts.insert(0, receipt(at=NOW + 1, status=500))
    for one in (died, failed):
        one.change_event(attempts=2)
        assert one.rules() == set()


def test_a_purchase_in_doubt_is_excused_by_a_death_before_its_answer() -> None:
    one = scene("ulazai")
    in_doubt(one)
    one.oracle.deaths.append(NOW)
    assert one.rules() == set()


@pytest.mark.parametrize(("began", "until", "excused"), [(NOW, NOW + 2, True), (NOW + 60, NOW + 62, False)])
def test_a_purchase_in_doubt_is_excused_by_a_machine_that_stood_still_meanwhile(
    began: float, until: float, excused: bool
) -> None:
    one = scene("ulazai")
    in_doubt(one)
    one.oracle.stalls.append((began, until))
    assert one.rules() == (set() if excused else {"needless doubt"})


def test_a_request_that_broke_off_is_no_purchase_and_one_that_could_not_be_read_is() -> None:
    one = scene()
    one.oracle.world.requests.append(asked())
    assert one.rules() == set()
    one.oracle.world.requests.append(asked(status=400))
    assert one.rules() == {"unannounced creates"}
