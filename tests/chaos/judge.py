"""Holds a run against the promises: by what providers, subscriber, clients and PostgreSQL saw."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from service.sandbox.jobs import Phase
from tests.chaos.stage import DEADLINE_SECONDS, Span, Stage
from tests.kill.facts import Facts
from tests.kill.oracle import IN_FLIGHT, SETTLED_TOGETHER, Oracle, Violation
from tests.kill.plan import KINDS
from tests.kill.receiver import Receipt


@dataclass(slots=True, kw_only=True)
class Verdict:
    """`violations` by rule; `per_fault`: duplicates each fault explains."""

    violations: list[Violation] = field(default_factory=list)
    duplicates: int = 0
    allowed: int = 0
    per_fault: list[tuple[str, int]] = field(default_factory=list)

    def blame(self, rule: str, what: str, task_id: str = "") -> None:
        self.violations.append(Violation(rule=rule, what=what, task_id=task_id))

    def counts(self) -> Counter[str]:
        return Counter(one.rule for one in self.violations)


def judged(stage: Stage, facts: Mapping[str, Facts]) -> Verdict:
    """Each provider's own oracle, then what only the whole shows."""
    verdict = Verdict()
    guilty = [span for span in stage.spans if not span.innocent]
    deaths = sorted(at for span in guilty for at in span.instants())
    of = {event_id: kind for kind, one in facts.items() for event_id in one.events}
    by_kind: dict[str, list[Receipt]] = defaultdict(list)
    for receipt in stage.receiver.receipts:
        by_kind[of.get(receipt.event_id, "")].append(receipt)
    for receipt in by_kind[""]:
        verdict.blame("changed bodies", f"{receipt.event_id} was sent and is not stored")
    for kind, told in facts.items():
        oracle = Oracle(
            kind=KINDS[kind],
            world=stage.worlds[kind],
            client=stage.clients[kind],
            receipts=by_kind[kind],
            deaths=deaths,
            in_doubt_seconds=DEADLINE_SECONDS + 1,
        )
        verdict.violations += oracle.at_end(told)
        verdict.duplicates += oracle.duplicates
        _spent(stage, kind, told, verdict)
    verdict.per_fault = repeated(stage.receiver.receipts, guilty)
    verdict.allowed = (IN_FLIGHT + SETTLED_TOGETHER) * len(guilty)
    for name, count in verdict.per_fault:
        if count > IN_FLIGHT + SETTLED_TOGETHER:
            verdict.blame("too many duplicates", f"{count} after {name}")
    for what in stage.blamed:
        verdict.blame("service errors", what)
    return verdict


def repeated(receipts: Sequence[Receipt], faults: Sequence[Span]) -> list[tuple[str, int]]:
    """How many second successes each fault explains: the last one that began between two of them, or lasted until then."""
    heard: dict[str, float] = {}
    counts: Counter[int] = Counter()
    for receipt in receipts:
        before = heard.get(receipt.event_id)
        if before is not None:
            fitting = [n for n, span in enumerate(faults) if span.began <= receipt.at and span.until >= before]
            counts[fitting[-1] if fitting else -1] += 1
        if 200 <= receipt.status < 300:
            heard[receipt.event_id] = receipt.at
    return [("no fault" if number < 0 else faults[number].what, count) for number, count in sorted(counts.items())]


def _spent(stage: Stage, kind: str, facts: Facts, verdict: Verdict) -> None:
    """The provider's ledger: what an account spent is what its jobs cost, and every job is some task's."""
    world = stage.worlds[kind]
    for account in world.accounts.values():
        cost = sum(
            job.credits for job in world.jobs.values() if job.account is account and job.phase is not Phase.FAILED
        )
        if cost != account.spent:
            verdict.blame("spend", f"{kind}: {account.spent} spent, jobs of {cost}")
    tasks = len(facts.tasks)
    if len(world.jobs) > tasks:
        verdict.blame("spend", f"{kind}: {len(world.jobs)} jobs for {tasks} tasks")


def missed_in_feed(seen: Counter[str], stored: Sequence[str]) -> list[str]:
    """What a reader by cursor should have seen exactly once."""
    return [
        f"{event_id} was read {seen[event_id]} times"
        for event_id in dict.fromkeys([*stored, *seen])
        if seen[event_id] != 1
    ] + [f"{event_id} was read and is not stored" for event_id in seen.keys() - set(stored)]
