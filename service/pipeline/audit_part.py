"""What a stretch of the audit brought: counts that add up, what nobody can explain, and what cannot be judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

# In the order in which a ledger is read. `owed` is the sum of the six below it, `jobs` of `bound`, `surplus` and `adrift`.
COUNTS = (
    "events",
    "ends",
    "owed",
    "delivered",
    "pending",
    "exhausted",
    "canceled",
    "quarantined",
    "missing",
    "besides",
    "tasks",
    "ended",
    "open",
    "jobs",
    "bound",
    "surplus",
    "adrift",
    "orphans",
    "unexplained",
    "unknown",
)
# No reading of what is stored can tell of these; whoever reads the ledger must know that.
CANNOT_BE_KNOWN = (
    "A job whose reply, push and look-up all never reached us: only the provider's own list shows it.",
    "What a subscriber did with an event that it answered with 2xx.",
    "What retention has removed.",
)
LISTED = 200  # findings of one kind of trouble that are named; all are counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is there and should not be, or the other way round. `names`: the ids it is about."""

    kind: str
    text: str
    names: Mapping[str, str]


@dataclass(slots=True)
class Part:
    """Counts and findings of one stretch. `next_at`: when the first of the pending is tried next."""

    counts: Counter[str] = field(default_factory=Counter)
    next_at: int | None = None
    unexplained: list[Finding] = field(default_factory=list)
    unknown: list[Finding] = field(default_factory=list)

    def accuse(self, kind: str, text: str, **names: str) -> None:
        """Nobody can explain this."""
        self.counts["unexplained"] += 1
        if len(self.unexplained) < LISTED:
            self.unexplained.append(Finding(kind=kind, text=text, names=names))

    def doubt(self, kind: str, text: str, **names: str) -> None:
        """This cannot be judged any more."""
        self.counts["unknown"] += 1
        if len(self.unknown) < LISTED:
            self.unknown.append(Finding(kind=kind, text=text, names=names))

    def waits_until(self, at: int) -> None:
        if self.next_at is None or at < self.next_at:
            self.next_at = at

    def add(self, other: Part) -> None:
        self.counts += other.counts
        if other.next_at is not None:
            self.waits_until(other.next_at)
        self.unexplained += other.unexplained[: LISTED - len(self.unexplained)]
        self.unknown += other.unknown[: LISTED - len(self.unknown)]
