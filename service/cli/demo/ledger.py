"""What a demo with kills came to: each order as the sandbox, the subscriber and taskrelay's own audit know it, and the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.cli.demo.scenes import ENDS, SUCCEEDED, Scene, body_of

WIDTH = 22


@dataclass(slots=True, kw_only=True)
class Order:
    """One task that is wanted. `id`: once it was acknowledged; `held`: how a purchase in doubt was settled."""

    number: int
    scene: Scene
    tries: int = 0
    id: str | None = None
    held: str | None = None
    task: dict[str, Any] = field(default_factory=dict)
    timeline: dict[str, Any] = field(default_factory=dict)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    received: list[dict[str, Any]] = field(default_factory=list)

    @property
    def reference(self) -> str:
        return f"order-{self.number}"

    @property
    def name(self) -> str:
        return f"{self.reference} ({self.scene.title}, {self.scene.provider})"

    @property
    def ended(self) -> bool:
        return self.task.get("finished_at") is not None

    @property
    def ends_received(self) -> list[dict[str, Any]]:
        """Each end of it that came with a valid signature."""
        return [event for event in self.received if event["valid"] and body_of(event)["type"] in ENDS]

    def faults(self) -> list[str]:
        """What is not as promised."""
        found = [f"{len(self.jobs)} jobs bought, not 1"] if len(self.jobs) != 1 else []
        if self.id is None:
            return ["never acknowledged", *found]
        if not self.ended:
            found.append(f"it is {self.task.get('status')}, not ended")
        elif self.task["status"] != "succeeded":
            found.append(f"it is {self.task['status']}, and its job succeeded")
        ends = {event["webhook_id"]: body_of(event)["type"] for event in self.ends_received}
        if not ends:
            found.append("no event")
        elif list(ends.values()) != [SUCCEEDED]:
            found.append(f"told {', '.join(ends.values())}, not one task.succeeded")
        return found


@dataclass(slots=True, kw_only=True)
class Ledger:
    """Everything, once it is over. `strangers`: jobs and events of no order; `recoveries`: seconds from a kill to serving."""

    seed: int
    kills: int = 0
    killed_starting: int = 0
    orders: list[Order] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    recoveries: list[float] = field(default_factory=list)
    settled_seconds: float | None = None  # from the last kill to the last event
    audit: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    broken: str | None = None  # why the demo could not go on

    @property
    def received(self) -> list[dict[str, Any]]:
        return [event for order in self.orders for event in order.received]

    @property
    def repeats(self) -> int:
        """Events that came again."""
        return len(self.received) - len({event["webhook_id"] for event in self.received})

    @property
    def twice(self) -> int:
        return sum(len(order.jobs) > 1 for order in self.orders)

    @property
    def missing(self) -> int:
        return sum(not order.ends_received for order in self.orders)

    @property
    def delivered(self) -> int:
        return len(self.orders) - self.missing

    @property
    def unexplained(self) -> int:
        return int(self.audit.get("counts", {}).get("unexplained", 0))

    def faults(self) -> list[str]:
        """What is not as promised; empty when all is well."""
        found = [f"{order.name}: {fault}" for order in self.orders for fault in order.faults()]
        found += self.strangers
        bodies: dict[str, set[str]] = {}
        for event in self.received:
            bodies.setdefault(event["webhook_id"], set()).add(event["sha256"])
            if not event["valid"]:
                found.append(f"{event['webhook_id']}: the signature is not valid: {event['reason']}")
        found += [f"{name}: came again with other bytes" for name, known in bodies.items() if len(known) > 1]
        found += [f"audit: {one['message']}" for one in self.audit.get("unexplained", ())]
        return [*([self.broken] if self.broken else []), *found]

    def facts(self) -> dict[str, Any]:
        """The same for a program."""
        return {
            "ok": not self.faults(),
            "seed": self.seed,
            "kills": self.kills,
            "tasks": len(self.orders),
            "bought": sum(len(order.jobs) for order in self.orders),
            "bought_twice": self.twice,
            "ended": sum(order.ended for order in self.orders),
            "delivered": self.delivered,
            "missing": self.missing,
            "repeats": self.repeats,
            "held": Counter(order.held for order in self.orders if order.held),
            "longest_recovery": round(max(self.recoveries, default=0.0), 2),
            "last_event_after": None if self.settled_seconds is None else round(self.settled_seconds, 2),
            "unexplained": self.unexplained,
            "seconds": round(self.seconds, 1),
            "faults": self.faults(),
        }


def opening(tasks: int, kills: int, seed: int) -> list[str]:
    return [
        f"taskrelay demo: {tasks} tasks, {kills} times kill -9, everything on this machine; nothing is paid   seed {seed}",
        "spans are shortened: no purchase leaves after 2 s, and an unanswered one is looked up for 2 s (30 and 120 in use)",
        "",
    ]


def page(ledger: Ledger) -> list[str]:
    """The ledger, a row for each promise."""
    ended = Counter(str(order.task.get("status")) for order in ledger.orders if order.ended)
    held = Counter(order.held for order in ledger.orders if order.held)
    counts = ledger.audit.get("counts", {})
    longest, settled = max(ledger.recoveries, default=0.0), ledger.settled_seconds
    rows = [
        ("tasks", len(ledger.orders), "acknowledged, each under a reference of its own"),
        ("kill -9", ledger.kills, f"at random moments, {ledger.killed_starting} of them while it was starting"),
        ("bought", sum(len(order.jobs) for order in ledger.orders), "as the sandbox accepted them"),
        ("bought twice", ledger.twice, ""),
        ("held, then settled", sum(held.values()), _held(held)),
        ("ended", sum(ended.values()), ", ".join(f"{count} {status}" for status, count in ended.items())),
        ("delivered", ledger.delivered, "an end each, every signature valid"),
        ("missing", ledger.missing, ""),
        ("delivered again", ledger.repeats, "same id, same bytes" if ledger.repeats else ""),
        ("longest recovery", f"{longest:.1f}", "s from kill -9 to serving again"),
        ("last event", "-" if settled is None else f"{settled:.1f}", "s after the last kill"),
        (
            "audit",
            counts.get("unexplained", "-"),
            f"unexplained; {counts.get('owed', '-')} owed, as taskrelay audit says",
        ),
    ]
    return ["", *(f"    {name:{WIDTH}}{number!s:>6}   {what}".rstrip() for name, number, what in rows), ""]


def _held(held: Mapping[str, int]) -> str:
    if not held:
        return ""
    how = ", ".join(f"{count} {action}" for action, count in held.items())
    return f"a provider that cannot be asked may have them; settled by its dashboard: {how}"


def verdict(ledger: Ledger, kept: str | None, again: str) -> list[str]:
    """Pass, or everything that failed and how to look closer."""
    faults = ledger.faults()
    if not faults:
        return [f"  PASS  0 missing, 0 bought twice   ({ledger.seconds:.0f} s)"]
    first, *more = faults
    told: Sequence[str] = more[:9]
    rest = [f"        and {len(more) - 9} more"] if len(more) > 9 else []
    return [
        f"  FAIL  {first}",
        *(f"        {fault}" for fault in told),
        *rest,
        f"        tasks and timelines {kept}/orders.json   log {kept}/taskrelay.log   again: {again} --seed {ledger.seed}",
    ]
