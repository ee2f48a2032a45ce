"""When an endpoint may be called, and how often at once: its rate, its breaker, and the pause it asked for."""

from __future__ import annotations

from dataclasses import replace

from service.core.schedule import MAX_RETRY_AFTER, Breaker, Bucket
from storage.records import Lane


class Pace:
    """Local state of the lane's owner. The rate begins anew with each owner; breaker and pause outlive it in the lane's row."""

    def __init__(self, lane: Lane) -> None:
        self._breaker = Breaker.load(lane.breaker)
        self._slow_until = lane.held_until or 0
        self._rate: int | None = None
        self._bucket: Bucket | None = None

    def follow(self, rate: int | None, now: int) -> None:
        """Go on at the rate the endpoint now has; a new one starts with an empty bucket."""
        if rate != self._rate:
            self._rate = rate
            self._bucket = Bucket(rate, now=now) if rate is not None else None

    def forget(self) -> None:
        """Begin anew, as somebody says who knows more than the last answers told."""
        self._breaker, self._slow_until = Breaker(), 0

    def open_at(self, now: int) -> int:
        """The earliest instant at which the endpoint may be called."""
        self._catch_up(now)
        at = max(self._slow_until, self._breaker.next_probe_at or 0)
        return at if self._bucket is None else max(at, self._bucket.ready_at(now))

    def cap(self, most: int) -> int:
        """How many attempts may be in flight; a probe goes alone."""
        return 1 if self._breaker.open else most

    @property
    def shut(self) -> bool:
        """Whether the breaker is open: after an attempt nothing follows at once."""
        return self._breaker.open

    def take(self, now: int) -> bool:
        """Whether the next attempt may start now; takes its place in the rate."""
        if self._slow_until > now or not self._breaker.admit(now):
            return False
        return self._bucket is None or self._bucket.take(now)

    def sent(self, now: int) -> None:
        self._breaker = self._breaker.sent(now)

    def answered(self, now: int, *, well: bool) -> None:
        self._breaker = self._breaker.record(now, well)

    def slow(self, until: int | None) -> None:
        """Call nothing before this instant."""
        if until is not None and until > self._slow_until:
            self._slow_until = until

    def _catch_up(self, now: int) -> None:
        """A clock that was set back must not shut the endpoint until it has caught up."""
        self._breaker = self._breaker.caught_up(now)
        self._slow_until = min(self._slow_until, now + MAX_RETRY_AFTER)

    def onto(self, lane: Lane, now: int) -> Lane:
        """The lane's row with what a next owner must know."""
        breaker = self._breaker.dump() if self._breaker.since is not None else None
        held = self._slow_until if self._slow_until > now else None
        if breaker == lane.breaker and held == lane.held_until:
            return lane
        return replace(lane, breaker=breaker, held_until=held)
