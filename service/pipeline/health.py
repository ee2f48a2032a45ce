"""Whether an account may be asked just now: its rate, its breaker, and what its provider told us to wait with.

Breaker and holds are kept in the lane's row, so that the next owner starts with them; the rate is this process's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum

from service.core.care import NOTHING, Care
from service.core.holding import Hold, Holds, asks_for_a_pause
from service.core.observation import Claim, Reading
from service.core.schedule import Breaker, Bucket
from service.core.times import iso
from storage.records import Lane, TaskStatus

BREAKER_OPEN = "it keeps failing (breaker open)"
PAUSED = "a person paused it"
NEVER = 1 << 62  # behind every instant: until somebody says otherwise


class Kind(Enum):
    """The two kinds of request that an account gets."""

    SUBMIT = "submit"
    QUERY = "query"


KIND_OF = {TaskStatus.QUEUED: Kind.SUBMIT, TaskStatus.UNCONFIRMED: Kind.QUERY, TaskStatus.PROCESSING: Kind.QUERY}


class Health:
    """One account's, as its lane's owner sees it."""

    def __init__(self, lane: Lane, bucket: Bucket, *, clock: Callable[[], int], secret: str = "") -> None:
        """`secret`: the account's key, which no note may hold."""
        self._bucket = bucket
        self._clock = clock
        self._secret = secret
        self._breaker = Breaker.load(lane.breaker)
        self._holds = Holds.load(lane.holds)
        self._care = NOTHING
        self.heed(Care.load(lane.care))

    def heed(self, care: Care) -> None:
        """What a person ordered is done from now on."""
        self._care = care
        self._holds = self._holds.resumed(care.resumed_at)

    @property
    def probing(self) -> bool:
        """Whether the next request shows if the account can be asked again at all."""
        return self._breaker.open

    def hold(self, kind: Kind) -> Hold:
        return self._holds.submits if kind is Kind.SUBMIT else self._holds.queries

    def shut_until(self, kind: Kind) -> int | None:
        """Until when trouble forbids this kind; None when it does not."""
        now = self._look()
        until = max(self._breaker.next_probe_at or 0, self.hold(kind).until, NEVER if self._paused(kind) else 0)
        return until if until > now else None

    def _paused(self, kind: Kind) -> bool:
        return kind is Kind.SUBMIT and self._care.paused_at is not None

    def _look(self) -> int:
        """The time. A clock that was set back must not shut the account until it has caught up."""
        now = self._clock()
        self._breaker, self._holds = self._breaker.caught_up(now), self._holds.caught_up(now)
        return now

    def closed(self) -> tuple[TaskStatus, ...]:
        """Open statuses whose tasks cannot be worked on."""
        return tuple(status for status, kind in KIND_OF.items() if self.shut_until(kind) is not None)

    def why(self, kind: Kind) -> str:
        """Why this kind is shut, for the timeline."""
        if self._paused(kind):
            return f"not asked: {PAUSED}"
        hold = self.hold(kind)
        if hold.held(self._clock()):
            return f"not asked before {iso(hold.until)}: {hold.reason or 'the provider asked us to wait'}"
        return f"not asked: {BREAKER_OPEN}"

    def spare(self) -> int:
        """How many requests the rate allows at once now."""
        return self._bucket.left(self._clock())

    def admit(self, kind: Kind, *, alike: int, others: int) -> bool:
        """Take a token for a request of this kind, and say so. `alike`, `others`: requests on their way, of the kind or not."""
        now, hold = self._look(), self.hold(kind)
        room = self._breaker.room(now)
        if self._paused(kind) or hold.held(now) or (room is not None and alike + others >= room):
            return False
        if hold.times and (alike or (others and self._holds.both_refused)):
            return False  # one on trial at a time
        if not self._bucket.take(now):
            return False
        self._breaker = self._breaker.sent(now)
        return True

    def ready_at(self, kind: Kind) -> int | None:
        """When to try again after `admit` said no; None: when something on its way has come back."""
        now = self._clock()
        at = max(self.shut_until(kind) or 0, self._bucket.ready_at(now))
        return at if at > now else None

    def learn(self, reading: Reading, *, bought: bool, sent_at: int) -> bool:
        """Take what an answer says of the account. Returns whether a next owner must know; one more success he need not."""
        now, before = self._clock(), (_essence(self._breaker), self._holds)
        failed = _failed(reading, bought)
        self._breaker = self._breaker.record(now, not failed)
        self._holds = self._holds.after(reading, bought=bought, sent_at=sent_at, now=now)
        changed = (_essence(self._breaker), self._holds) != before
        if changed and (failed or asks_for_a_pause(reading)):  # beside what is written anyway
            self._holds = self._holds.troubled(reading, now=now, secret=self._secret)
        return changed

    def kept(self, lane: Lane) -> Lane:
        """The lane as it is stored, with what a next owner must know and what a person has ordered meanwhile."""
        self.heed(Care.load(lane.care))
        return replace(
            lane,
            breaker=self._breaker.dump() if self._breaker.since is not None else None,
            holds=self._holds.dump(),
        )


def _essence(breaker: Breaker) -> tuple[int | None, ...]:
    return breaker.since, breaker.failures, breaker.probe_at


def _failed(reading: Reading, bought: bool) -> bool:
    """Whether the provider could not be reached, or nothing could be made of its answer. One that says no, or wait, is well."""
    if reading.account_refused or reading.busy:
        return False
    never_sent = reading.claim is Claim.DEFERRED and reading.failure is None
    return never_sent or reading.claim is Claim.UNREACHABLE or (bought and reading.claim is Claim.AMBIGUOUS)
