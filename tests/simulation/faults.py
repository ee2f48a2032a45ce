"""What one seed decides: who orders what, how the world misbehaves and when, and when it becomes quiet."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

MINUTE, HOUR = 60.0, 3600.0
CONTRACTS = ("cloudsway", "acedata", "ulazai", "apiinone")
MODELS = {
    "cloudsway": ("kling-3.0-turbo",),
    "acedata": ("kling-v3", "kling-v2-6"),
    "ulazai": ("kling-3.0", "kling-2.6"),
    "apiinone": ("kling-3",),
}
# A commit; a purchase announced, about to leave, answered; an attempt about to leave, answered; a question about to leave.
POINTS = ("commit", "intent", "buy", "bought", "post", "posted", "query")
MANNERS = (
    "fail", "fail", "no-output", "unknown-word", "stuck", "no-push", "push-twice", "out-of-order", "push-before-reply",
    "late-push=45", "late-push=400", "garbage", "lost-reply", "status-after=500", "status-after=504,names-task", "hang-after",
    "refuse",
)  # fmt: skip
PROJECTS = ("north", "south")
SECRETS_IN_PROMPTS = "canary-of-the-prompt"


def dice(seed: int, name: str) -> random.Random:
    """A stream of its own, so that one more draw here changes nothing there."""
    return random.Random(f"{seed}/{name}")


@dataclass(slots=True, kw_only=True)
class Order:
    """One task a client will ask for. `manners`: what the provider is told to do to it."""

    number: int
    at: float
    project: str
    contract: str
    model: str
    manners: str
    deadline: int
    reference: bool
    webhook: bool
    fallbacks: tuple[tuple[str, str], ...] = ()
    cancel_after: float | None = None
    settle: str | None = None  # what a person does about it, should it be unconfirmed
    settle_after: float = 0.0

    @property
    def prompt(self) -> str:
        """Unlike any other's: the provider's side is counted by it."""
        told = f" [sandbox: {self.manners}]" if self.manners else ""
        return f"{SECRETS_IN_PROMPTS} number {self.number:03d}.{told}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """How likely each misfortune is, a request at a time. The default is calm."""

    slow: float = 0.05  # seconds a leg takes, about
    refused: float = 0.0
    lost: float = 0.0  # left and never arrives
    late: float = 0.0  # left, arrives when nobody waits any more
    mute: float = 0.0  # done, and the answer gets lost
    reset: float = 0.0
    gateway: float = 0.0  # 502, 503 or 504 of somebody in between, whatever became of the request
    throttled: float = 0.0  # 429 with Retry-After, nothing made
    garbled: float = 0.0
    crossed: float = 0.0  # the answer names somebody else's job
    push_lost: float = 0.0
    push_twice: float = 0.0
    push_late: float = 0.0
    forged: float = 0.0
    client_lost: float = 0.0
    bad_subscriber: float = 0.0
    store_down: float = 0.0  # a write fails before its commit
    store_mute: float = 0.0  # a write is committed and its caller never hears


CALM = Weather()


@dataclass(slots=True, kw_only=True)
class Misfortune:
    """One thing that happens to a process, a party or the clock.

    `point`, `nth`: not before the process comes to this place for the nth time, then `steps` callbacks later.
    """

    kind: str
    at: float
    machine: int = 0
    steps: int = 0  # callbacks of the process after the moment
    point: str = ""
    nth: int = 0
    seconds: float = 0.0
    contract: str = ""


@dataclass(slots=True, kw_only=True)
class Plan:
    """Everything that is decided before the first step."""

    seed: int
    orders: list[Order] = field(default_factory=list)
    weather: Weather = CALM
    misfortunes: list[Misfortune] = field(default_factory=list)
    quiet_at: float = 0.0
    replicas: int = 1
    callbacks: dict[str, str] = field(default_factory=dict)
    policies: dict[str, str] = field(default_factory=dict)  # what a project wants done about purchases in doubt
    unique: bool = False
    index_lag: float = 0.0  # look-ups by external id show nothing younger
    push_retries: int = 0
    endpoints: list[dict[str, Any]] = field(default_factory=list)
    long_night: bool = False  # at the end: down past every deadline
    job_seconds: float = 40.0
    expected: int | None = None
    restores: bool = False
    pace: float = 0.002
    max_open: int = 100


def plan_of(seed: int) -> Plan:
    """The plan of a seed."""
    draw = dice(seed, "plan")
    plan = Plan(seed=seed)
    plan.quiet_at = draw.choice((90.0, 180.0, 300.0, 420.0, 600.0))
    plan.weather = _weather(draw)
    plan.replicas = 2 if draw.random() < 0.3 else 1
    plan.callbacks = {name: draw.choice(("verify", "verify", "trust", "off")) for name in CONTRACTS}
    plan.policies = {name: draw.choice(("hold", "hold", "resubmit")) for name in PROJECTS}
    plan.unique = draw.random() < 0.2
    plan.index_lag = draw.choice((0.0, 200.0, 400.0)) if plan.unique else 0.0
    plan.push_retries = draw.choice((0, 0, 1, 3))
    plan.job_seconds = draw.choice((5.0, 20.0, 40.0, 90.0))
    plan.expected = draw.choice((None, 20, 60))
    plan.pace = draw.choice((0.0, 0.001, 0.005, 0.05))
    plan.long_night = draw.random() < 0.3
    plan.max_open = draw.choice((100, 100, 100, 2))
    plan.restores = plan.replicas == 1 and draw.random() < 0.1
    favourite = draw.choice((*CONTRACTS, None, None))
    count = draw.choice((1, 2, 3, 4, 6, 8, 12))
    burst = draw.random() < 0.4
    for number in range(count):
        plan.orders.append(_order(draw, plan, number, favourite, burst))
    plan.endpoints = [_endpoint(draw, number) for number in range(draw.choice((1, 2, 3)))]
    plan.misfortunes = sorted(_misfortunes(draw, plan), key=lambda one: one.at)
    last = max((one.at + one.seconds for one in plan.misfortunes), default=0.0)
    plan.quiet_at = max(plan.quiet_at, last)
    return plan


def _weather(draw: random.Random) -> Weather:
    """Some kinds of misfortune, each seldom or often; a seed with everything at once would hide what each does alone."""
    kinds = [name for name in Weather.__dataclass_fields__ if name != "slow"]
    costly = ("lost", "late", "mute", "reset", "gateway")  # what leaves a purchase in doubt
    chosen = {
        name: draw.choice((0.03, 0.1, 0.3)) for name in kinds if draw.random() < (0.45 if name in costly else 0.3)
    }
    if chosen.get("store_down", 0.0) > 0.1:
        chosen["store_down"] = 0.1
    return Weather(slow=draw.choice((0.02, 0.2, 1.5)), **chosen)


def _order(draw: random.Random, plan: Plan, number: int, favourite: str | None, burst: bool) -> Order:
    contract = favourite if favourite is not None and draw.random() < 0.7 else draw.choice(CONTRACTS)
    at = 1.0 if burst else draw.uniform(0.5, max(plan.quiet_at * 0.7, 1.0))
    deadline = draw.choice((60, 120, 300, 900, 1800, 3600))
    others = [other for other in CONTRACTS if other != contract]
    fallbacks: tuple[tuple[str, str], ...] = ()
    if draw.random() < 0.3:
        chosen = draw.sample(others, draw.choice((1, 2)))
        fallbacks = tuple((other, draw.choice(MODELS[other])) for other in chosen)
    return Order(
        number=number,
        at=at,
        project=draw.choice(PROJECTS),
        contract=contract,
        model=draw.choice(MODELS[contract]),
        manners=_manners(draw, plan),
        deadline=deadline,
        reference=draw.random() < 0.8,
        webhook=draw.random() < 0.3,
        fallbacks=fallbacks,
        cancel_after=draw.choice((0.0, 0.05, 1.0, 20.0)) if draw.random() < 0.15 else None,
        settle=draw.choice((None, None, "resubmit", "abandon", "adopt")),
        settle_after=draw.choice((1.0, 40.0, 200.0)),
    )


def _manners(draw: random.Random, plan: Plan) -> str:
    seconds = draw.choice((60.0, 200.0) if plan.restores else (0.0, 1.0, plan.job_seconds, plan.job_seconds * 3))
    told = [f"seconds={seconds:g}"]
    if draw.random() < 0.45:
        told.append(draw.choice(MANNERS))
    return ", ".join(told)


def _endpoint(draw: random.Random, number: int) -> dict[str, Any]:
    """`temper`: how it answers while the storm lasts; in calm weather every endpoint is well, but one that said 410."""
    return {
        "number": number,
        "project": draw.choice(PROJECTS),
        "events": draw.choice((None, None, ["*"], ["task.*"], ["task.succeeded", "task.unconfirmed", "task.conflict"])),
        "temper": draw.choice(("well", "well", "well", "errors", "busy", "slow", "deaf", "refuses", "gone")),
        "max_in_flight": draw.choice((None, 1, 2)),
    }


def _misfortunes(draw: random.Random, plan: Plan) -> list[Misfortune]:
    found: list[Misfortune] = []
    quiet = plan.quiet_at
    for _ in range(draw.choice((0, 1, 1, 2, 3, 5))):
        kind = draw.choice(("kill", "kill", "kill", "pause", "pause", "stop"))
        at = draw.uniform(1.0, quiet * 0.9)
        seconds = (
            draw.choice((1.0, 5.0, 20.0, 70.0, 200.0)) if kind != "pause" else draw.choice((5.0, 40.0, 75.0, 200.0))
        )
        if kind != "pause" and plan.replicas == 1 and draw.random() < 0.12:
            seconds = draw.choice((HOUR, 2 * HOUR, 6 * HOUR))
        exact = draw.random() < 0.6
        found.append(
            Misfortune(
                kind=kind,
                at=1.0 if exact and draw.random() < 0.5 else at,
                machine=draw.randrange(plan.replicas),
                point=draw.choice(POINTS) if exact else "",
                nth=draw.choice((1, 1, 2, 3, 5, 8)) if exact else 0,
                steps=draw.choice((1, 1, 2, 3, 5, 8, 20)) if exact else 0,
                seconds=seconds,
            )
        )
    if draw.random() < 0.2:
        found.append(
            Misfortune(
                kind="freeze",
                at=1.0,
                machine=draw.randrange(plan.replicas),
                seconds=draw.choice((20.0, 40.0, 220.0, 260.0)),
            )
        )
    if draw.random() < 0.25:
        found.append(
            Misfortune(
                kind="outage",
                at=draw.uniform(0, quiet / 2),
                seconds=draw.uniform(60, 400),
                contract=draw.choice(CONTRACTS),
            )
        )
    if draw.random() < 0.12:
        found.append(
            Misfortune(
                kind="unpaid",
                at=draw.uniform(0, 20),
                seconds=draw.choice((60.0, 1300.0)),
                contract=draw.choice(CONTRACTS),
            )
        )
    if draw.random() < 0.15:
        found.append(Misfortune(kind="store", at=draw.uniform(0, quiet / 2), seconds=draw.choice((3.0, 20.0, 100.0))))
    if draw.random() < 0.3:
        found += [
            Misfortune(kind="refuse", at=0.0, contract=draw.choice(CONTRACTS)) for _ in range(draw.choice((1, 3)))
        ]
    if draw.random() < 0.25:
        found.append(Misfortune(kind="contradict", at=draw.uniform(quiet / 3, quiet)))
    if plan.replicas == 1 and draw.random() < 0.15:
        for _ in range(draw.choice((1, 2))):
            found.append(
                Misfortune(
                    kind="clock",
                    at=draw.uniform(1, quiet),
                    seconds=draw.choice((-3600.0, -90.0, -5.0, 5.0, 90.0, 3600.0)),
                )
            )
    if plan.restores:
        found.append(Misfortune(kind="restore", at=draw.uniform(quiet / 2, quiet * 0.9), seconds=draw.uniform(1, 30)))
    return found
