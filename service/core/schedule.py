"""When to act next: delivery attempts, polls, look-ups; and when not to: rate and breaker of one remote party.

Jitter is a number from 0 to 1 that the caller draws. It only ever adds, so nothing happens earlier than promised.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final, Self

from service.core.durations import Curve
from service.core.times import DAY, MINUTE, SECOND, parse_http_date

# Seconds before each attempt, counted from the one before: ten attempts over 75 h 35 m 5 s.
RETRY_SCHEDULE: Final = (0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
RETRY_WINDOW: Final = 14 * DAY
MAX_RETRY_AFTER: Final = DAY
JITTER: Final = 0.1

POLL_FLOOR: Final = 2 * SECOND
POLL_CEILING: Final = 300 * SECOND
FIRST_POLL_CEILING: Final = 1800 * SECOND
PUSH_SLACK: Final = 5.0  # seconds a push may travel
POLL_JITTER: Final = SECOND  # at most: more would miss the moment for which the question was timed
LAG_SECONDS: Final = (2, 5, 15, 30)
LOOK_UP_SECONDS: Final = (5, 30)
LOOK_UP_EVERY: Final = 300 * SECOND


def retry_at(
    attempts_made: int,
    *,
    now: int,
    jitter: float,
    retry_after_at: int | None = None,
    created_at: int,
    schedule: Sequence[float] = RETRY_SCHEDULE,
) -> int | None:
    """When a delivery is tried again, or None when its schedule or its window of 14 days is used up.

    The later of the schedule and what the receiver asked for, which is heard up to 24 h ahead.
    """
    if attempts_made >= len(schedule):
        return None
    at = now + int(schedule[attempts_made] * SECOND)
    if retry_after_at is not None:
        at = max(at, min(retry_after_at, now + MAX_RETRY_AFTER))
    # Spread over the whole wait: a thousand deliveries told "in 60 s" by one receiver must not all come at once.
    at = later(now, at - now, jitter)
    return at if at <= created_at + RETRY_WINDOW else None


def schedule_of(text: str | None) -> Sequence[float]:
    """The schedule of an endpoint's own list of waits before each retry; ours where it has none. The first attempt never waits."""
    return RETRY_SCHEDULE if text is None else (0, *json.loads(text))


SECONDS: Final = re.compile(r"[0-9]{1,12}")


def retry_after_at(text: str | None, now: int) -> int | None:
    """The instant a `Retry-After` names, at most 24 h ahead, or None when it is absent or nonsense.

    Seconds or an HTTP date (RFC 9110 §10.2.3). A moment already past asks for nothing.
    """
    if text is None or len(text) > 64:
        return None
    text = text.strip(" \t")
    at = now + int(text) * SECOND if SECONDS.fullmatch(text) else parse_http_date(text)
    return None if at is None or at <= now else min(at, now + MAX_RETRY_AFTER)


def first_poll_at(submitted_at: int, *, curve: Curve, pushes: bool, jitter: float) -> int:
    """When a new job is first asked after: once its push is overdue; without pushes as soon as it may well be done."""
    return next_poll_at(submitted_at, submitted_at=submitted_at, curve=curve, pushes=pushes, jitter=jitter)


def next_poll_at(now: int, *, submitted_at: int, curve: Curve, pushes: bool, jitter: float) -> int:
    """When to ask after a job that still runs. Without state: its age and how long such jobs take say it all.

    Where only polling tells, as soon as the delay to be expected is worth a question (`Curve.next_ask`). Where a push should
    come anyway, once it is overdue and then after a quarter of the time so far. So a question asked early (by a push, by
    hand) adds none.
    """
    elapsed = max(now - submitted_at, 0)
    if pushes:
        due = int((curve.overdue + PUSH_SLACK) * SECOND) - elapsed
        wait = max(due, min(elapsed // 4, POLL_CEILING))
    else:
        wait = int(curve.next_ask(elapsed / SECOND) * SECOND) - elapsed
    wait = max(min(wait, max(FIRST_POLL_CEILING - elapsed, POLL_CEILING)), POLL_FLOOR)
    return now + wait + int(min(wait * JITTER, POLL_JITTER) * min(max(jitter, 0.0), 1.0))


def lag_poll_at(count: int, now: int) -> int | None:
    """When to ask again if a push claimed an end that the provider's query does not show yet. `count`: asked so far.

    None once four questions were in vain: the push was wrong or forged, and the ordinary pace goes on.
    """
    return now + LAG_SECONDS[count] * SECOND if count < len(LAG_SECONDS) else None


def resolver_at(count: int, *, deadline_at: int, settle_seconds: float, now: int) -> int:
    """When to look for a submission of unknown fate. `count`: look-ups made; `deadline_at`: the submission's.

    At deadline +5 s, +30 s, + the settle window, then every 5 minutes. A late start (after downtime) keeps 5 s
    between the first ones: three answers in one instant would be one answer.
    """
    offsets = (*(min(seconds, settle_seconds) for seconds in LOOK_UP_SECONDS), settle_seconds)
    if count < len(offsets):
        return max(deadline_at + int(offsets[count] * SECOND), now + (5 * SECOND if count else 0))
    settled_at = deadline_at + int(settle_seconds * SECOND)
    return max(settled_at + (count - len(offsets) + 1) * LOOK_UP_EVERY, now + LOOK_UP_EVERY)


def later(start: int, wait: int, jitter: float) -> int:
    """`wait` after `start`, plus up to a tenth of the wait."""
    return start + wait + int(wait * JITTER * min(max(jitter, 0.0), 1.0))


class Bucket:
    """A party's rate: at most `burst` at once and `rate` a second over any time. Starts empty.

    Kept as one instant, the moment at which the bucket would be full: nothing to refill, nothing to drift.
    """

    __slots__ = ("capacity", "full_at", "interval")

    def __init__(self, rate: float, *, now: int, burst: float | None = None) -> None:
        if not (rate > 0 and math.isfinite(rate)):
            raise ValueError(f"a rate must be above zero, not {rate}")
        # Half a second's worth at once, so that ten seconds hold 1.05 times the rate, below the 1.1 promised.
        burst = max(1.0, rate / 2 if burst is None else burst)
        self.interval = math.ceil(SECOND / rate)  # rounded up: never faster than configured
        self.capacity = int(burst * self.interval)
        self.full_at = now + self.capacity

    def take(self, now: int, n: int = 1) -> bool:
        """Take `n` and say so, or take nothing."""
        if self.ready_at(now, n) > now:
            return False
        self.full_at = max(self.full_at, now) + n * self.interval
        return True

    def ready_at(self, now: int, n: int = 1) -> int:
        """When `n` can be taken, `now` at the earliest."""
        if not 0 < n * self.interval <= self.capacity:
            raise ValueError(f"{n} can never be taken at once from a bucket of {self.capacity // self.interval}")
        # A clock set back must not block the party until it has caught up: empty is the worst a bucket can be.
        self.full_at = min(self.full_at, now + self.capacity)
        return max(self.full_at + n * self.interval - self.capacity, now)

    def left(self, now: int) -> int:
        """How many can be taken at once now."""
        return max(now + self.capacity - max(self.full_at, now), 0) // self.interval


BREAKER_REQUESTS: Final = 10
BREAKER_FAILURES: Final = 0.7
BREAKER_WINDOW: Final = 5 * MINUTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """Stops asking a party that keeps failing: open at 10 requests with 70 % failures within 5 minutes, or 10 in a row.

    The window begins with its first failure. Successes before it are not counted: they cost nothing, and an hour of
    health cannot hide an outage; nor can those between one early failure and the outage. While open, one probe goes
    out every 30 to 60 s; the first success closes.
    """

    since: int | None = None  # first failure of the window; while open, the opening
    requests: int = 0
    failures: int = 0
    in_a_row: int = 0  # the last answers that were failures
    probe_at: int | None = None  # None: closed
    probes: int = 0  # probes that failed since the opening
    probing: bool = False  # half-open: a probe is under way

    @property
    def open(self) -> bool:
        return self.probe_at is not None

    @property
    def next_probe_at(self) -> int | None:
        """When the next probe may go out; None while closed."""
        return self.probe_at

    def caught_up(self, now: int) -> Self:
        """The breaker after a clock was set back: a pause longer than any is none, and the probe may go out."""
        if self.probe_at is None or self.probe_at <= now + probe_pause(self.probes):
            return self
        return replace(self, probe_at=now)

    def admit(self, now: int) -> bool:
        """Whether a request may go out. Follow a granted one with `sent`."""
        return self.probe_at is None or now >= self.probe_at

    def sent(self, now: int) -> Self:
        """The breaker after an admitted request left: while open that was the probe, and the next one waits its turn.

        A probe whose answer never comes (a killed process) is thereby replaced in time.
        """
        if self.probe_at is None:
            return self
        return replace(self, probing=True, probe_at=now + probe_pause(self.probes))

    def record(self, now: int, ok: bool) -> Self:
        """The breaker after an answer. A success while all is well changes nothing."""
        if ok:
            if self.since is None:
                return self
            if self.probe_at is not None or not self.within(now):
                return type(self)()
            return replace(self, requests=self.requests + 1, in_a_row=0)
        if self.probe_at is not None:
            # Answers to requests that left before the opening say nothing new.
            return self.after_failed_probe(now) if self.probing else self
        counted = self if self.within(now) else type(self)(since=now)
        counted = replace(
            counted, requests=counted.requests + 1, failures=counted.failures + 1, in_a_row=counted.in_a_row + 1
        )
        mostly = counted.requests >= BREAKER_REQUESTS and counted.failures >= BREAKER_FAILURES * counted.requests
        if mostly or counted.in_a_row >= BREAKER_REQUESTS:
            return replace(counted, since=now, probe_at=now + probe_pause(0))
        return counted

    def room(self, now: int) -> int | None:
        """How many requests may be on their way at once: as soon as some fail, no more than it takes to open. None: any number."""
        if self.probe_at is not None:
            return int(now >= self.probe_at)
        return BREAKER_REQUESTS - self.in_a_row if self.in_a_row and self.within(now) else None

    def within(self, now: int) -> bool:
        return self.since is not None and now - self.since < BREAKER_WINDOW

    def after_failed_probe(self, now: int) -> Self:
        probes = self.probes + 1
        return replace(self, probing=False, probes=probes, probe_at=now + probe_pause(probes))

    def dump(self) -> str:
        """JSON text for the lane's row."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def load(cls, text: str | None) -> Self:
        """What `dump` wrote. Anything else is a closed breaker: at worst ten requests find the trouble again."""
        try:
            stored = json.loads(text or "{}")
            breaker = cls(**stored)
            counts = (breaker.requests, breaker.failures, breaker.in_a_row, breaker.probes)
            numbers = (*counts, breaker.since or 0, breaker.probe_at or 0)
            sound = all(type(number) is int and number >= 0 for number in numbers) and type(breaker.probing) is bool
        except (ValueError, TypeError, RecursionError):
            return cls()
        return breaker if sound else cls()


def probe_pause(probes: int) -> int:
    """30 s before the first probe, ten more after each that fails, at most a minute."""
    return min(30 + 10 * probes, 60) * SECOND
