"""What was ordered of a run, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.chaos.judge import Verdict
from tests.chaos.measures import Measured
from tests.kill.oracle import Violation


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was ordered."""

    seed: int
    seconds: float
    per_second: float
    phases: Sequence[str]
    roles: Sequence[str]


@dataclass(slots=True, kw_only=True)
class Result:
    """What came of it. `shown`: the violations with what is known of their tasks."""

    run: Run
    verdict: Verdict
    measured: Measured
    counts: Counter[str] = field(default_factory=Counter)
    trouble: Counter[str] = field(default_factory=Counter)
    idling_excused: int = 0
    converged_seconds: float | None = None
    shown: list[str] = field(default_factory=list)

    @property
    def violations(self) -> list[Violation]:
        return list(self.verdict.violations)
