"""An account is a credential at one company: what it spent, what it has open, how fast it asks."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from service.sandbox.rules import Rate, Rules


class Turned(StrEnum):
    """Why an account's request is turned down, whatever its contract calls that."""

    NO_KEY = "no key"
    WRONG_KEY = "wrong key"
    CONTENT = "content"
    TAKEN = "external id taken"
    ARREARS = "arrears"
    TOO_FAST = "too fast"
    TOO_MANY = "too many"
    FULL = "full"


@dataclass(slots=True, kw_only=True, eq=False)
class Account:
    """One credential's standing. Contracts of one company share it."""

    company: str
    key: str = field(repr=False)
    spent: Decimal = Decimal(0)
    open: Counter[str] = field(default_factory=Counter)  # by contract
    creates: deque[float] = field(default_factory=deque)
    queries: deque[float] = field(default_factory=deque)

    @property
    def label(self) -> str:
        return label(self.key)

    def short_of(self, rules: Rules, contract: str, cost: Decimal, now: float) -> Turned | None:
        """What stands against one more create. Only one that passes counts against the rate."""
        if cost > rules.credits - self.spent:
            return Turned.ARREARS
        if rules.concurrency_limit is not None and self.open[contract] >= rules.concurrency_limit:
            return Turned.TOO_MANY
        return None if in_time(self.creates, rules.rate, now) else Turned.TOO_FAST

    def hurries(self, rules: Rules, now: float) -> bool:
        """Whether this query is one too many."""
        return not in_time(self.queries, rules.query_rate, now)


def in_time(passed: deque[float], rate: Rate | None, now: float) -> bool:
    """Whether one more fits: at most so many in any span of that length."""
    if rate is None:
        passed.clear()
        return True
    while passed and passed[0] <= now - rate.seconds:
        passed.popleft()
    if len(passed) >= rate.count:
        return False
    passed.append(now)
    return True


def label(key: str) -> str:
    """A name for a credential that does not tell it."""
    return "key_" + hashlib.sha256(key.encode()).hexdigest()[:12]
