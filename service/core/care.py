"""What people ordered of an account and what they were told of it: kept in its lane's row, beside what its provider said.

A person's order and a refused key both stop purchases, and for both people are told; questions, pushes and deliveries go on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final, Self

from service.core.holding import Holds
from storage.records import FailureCode, Lane

JUDGED_BY: Final = 5  # the last ends tell whether pushes arrive
BACK_AT: Final = 3  # so many of them with a push: they do again


class Cause(StrEnum):
    """Who or what stopped an account's purchases."""

    PERSON = "person"
    CREDENTIALS = "credentials"  # its provider refuses the key or the balance


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Why and since when nothing is bought. `reason`, `code`: what the provider said."""

    since: int
    reason: str | None = None
    code: FailureCode | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Care:
    """`paused_at`: a person stopped its purchases. `resumed_at`: a person said that it is in order; what was refused before
    does not count. `silent_since`: its pushes do not arrive, and people were told so."""

    paused_at: int | None = None
    resumed_at: int = 0
    silent_since: int | None = None

    def dump(self) -> str | None:
        """JSON text for the lane's row; None when there is nothing to say."""
        return None if self == NOTHING else json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def load(cls, text: str | None) -> Self:
        """What `dump` wrote. Anything else is an account that nobody looked after."""
        try:
            care = cls(**json.loads(text or "{}"))
        except (ValueError, TypeError, RecursionError):
            return cls()
        numbers = (care.paused_at or 0, care.resumed_at, care.silent_since or 0)
        return care if all(type(number) is int and number >= 0 for number in numbers) else cls()


NOTHING: Final = Care()


def care_of(lane: Lane | None) -> Care:
    return Care.load(lane.care if lane is not None else None)


def holds_of(lane: Lane | None) -> Holds:
    """What the account's provider said, as far as nobody has said since that it is in order again."""
    return Holds.load(lane.holds if lane is not None else None).resumed(care_of(lane).resumed_at)


def pauses(lane: Lane | None) -> Mapping[Cause, Pause]:
    """What stops an account's purchases until somebody or something lifts it; empty: nothing does."""
    found: dict[Cause, Pause] = {}
    if (since := care_of(lane).paused_at) is not None:
        found[Cause.PERSON] = Pause(since=since)
    holds = holds_of(lane)
    refused = [hold for hold in (holds.submits, holds.queries) if hold.refused_since is not None]
    if refused:
        first = min(refused, key=lambda hold: hold.refused_since or 0)
        code = first.code or FailureCode.CREDENTIALS_REFUSED
        found[Cause.CREDENTIALS] = Pause(since=first.refused_since or 0, reason=first.reason, code=code)
    return found


def silent(before: bool, pushed: Sequence[bool]) -> bool:
    """Whether an account's pushes are missing. `pushed`: of its last ends, newest first, whether any push told of the task.

    Five ends in a row without one are no accident; it takes three of five to believe that they arrive again.
    """
    judged = pushed[:JUDGED_BY]
    if len(judged) < JUDGED_BY:
        return before
    return sum(judged) < BACK_AT if before else not any(judged)
