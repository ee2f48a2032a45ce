"""How long an endpoint has been failing, when its owner is warned, and when it is given up.

Disabled after five days without a success, but never unwarned: the warning was told at least twelve hours before, and failures were
seen in at least two windows twelve hours apart. One success forgets it all. Nothing here depends on the endpoint that is broken.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Final, Self

from service.core.times import DAY, HOUR

PATIENCE: Final = 5 * DAY
APART: Final = 12 * HOUR
WARNINGS: Final = (50, 70, 90)  # percent of the patience


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What is remembered between a first failure and the next success."""

    since: int | None = None  # the first failure; None: well
    windows: int = 0  # spans of twelve hours with failures; counted to two
    window_at: int = 0  # when the last of them began
    warned: int = 0  # the last warning, in percent
    warned_at: int = 0  # the first warning
    blocked: bool = False  # told that our guard refuses the address

    def dump(self) -> str | None:
        """JSON text for the endpoint's row; None while it is well."""
        return None if self == WELL else json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def load(cls, text: str | None) -> Self:
        """What `dump` wrote. Anything else is a well endpoint: at worst the five days begin anew."""
        try:
            health = cls(**json.loads(text or "{}"))
        except (ValueError, TypeError, RecursionError):
            return cls()
        numbers = (health.since or 0, health.windows, health.window_at, health.warned, health.warned_at)
        sound = all(type(number) is int and number >= 0 for number in numbers) and type(health.blocked) is bool
        return health if sound else cls()


WELL: Final = Health()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The health after an attempt, and what is to be told of it. `warn`: percent of the patience that is used up."""

    health: Health
    warn: int | None = None
    disable: bool = False


def after_failure(health: Health, now: int, *, blocked: bool = False) -> Finding:
    """What a failure means. `blocked`: our guard refused the address, which its owner is told at once."""
    if health.since is None:
        health = replace(health, since=now, windows=1, window_at=now)
    elif health.windows < 2 and now - health.window_at >= APART:
        health = replace(health, windows=2, window_at=now)
    used = percent(health, now)
    if used >= 100 and health.warned and now - health.warned_at >= APART:
        return Finding(health=health, disable=True)
    warning = max((step for step in WARNINGS if step <= used), default=0)
    if warning > health.warned:
        warned_at = health.warned_at if health.warned else now
        return Finding(health=replace(health, warned=warning, warned_at=warned_at, blocked=blocked), warn=warning)
    if blocked and not health.blocked:
        return Finding(health=replace(health, blocked=True), warn=used)
    return Finding(health=health)


def percent(health: Health, now: int) -> int:
    """How much of the patience is used up: nothing before the second window."""
    if health.since is None or health.windows < 2:
        return 0
    return min(100, max(0, now - health.since) * 100 // PATIENCE)
