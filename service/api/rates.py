"""How often each API key may ask: a token bucket of each in this process, told in RateLimit headers.

The headers are those of draft-ietf-httpapi-ratelimit-headers-11.
For one key that asks too much, not against strangers: who has no key is turned away before (service/api/wrong_keys.py).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

from service.api.problems import Problem
from service.core.schedule import Bucket
from service.core.times import SECOND

KNOWN = 10_000  # keys; the one that has asked for nothing the longest is forgotten, and begins anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """`count` at once, and as many again every so many `seconds`, evenly."""

    count: int
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a key stands: what its answer says of that, and how many microseconds it has to wait."""

    headers: tuple[tuple[bytes, bytes], ...] = ()
    wait: int = 0

    def demand(self) -> None:
        """Refuse who has to wait."""
        if self.wait:
            seconds, milliseconds = math.ceil(self.wait / SECOND), math.ceil(self.wait / 1000)
            headers = {"retry-after": str(seconds), "retry-after-ms": str(milliseconds)}
            detail = f"This key asks more often than it may (API__RATE). Send it again in {milliseconds} ms."
            raise Problem("rate_limited", detail, headers=headers)


FREE = Standing()


class Rates:
    """The buckets of this process. Without a quota nobody is held back."""

    def __init__(self, quota: Quota | None = None, *, known: int = KNOWN) -> None:
        self._quota = quota
        self._known = known
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()
        self._policy = f'"default";q={quota.count};w={quota.seconds}'.encode() if quota is not None else b""

    def take(self, key_id: str, now: int) -> Standing:
        """Count a request."""
        if self._quota is None:
            return FREE
        bucket = self._bucket(key_id, now, self._quota)
        taken = bucket.take(now)
        # Its steps are rounded up to whole microseconds: three of a third of a second make one second all the same.
        full_in = max(math.ceil((bucket.full_at - now) / SECOND - 0.001), 0)
        left = f'"default";r={bucket.left(now)};t={full_in}'.encode()
        headers = ((b"ratelimit-policy", self._policy), (b"ratelimit", left))
        return Standing(headers=headers, wait=0 if taken else bucket.ready_at(now) - now)

    def _bucket(self, key_id: str, now: int, quota: Quota) -> Bucket:
        bucket = self._buckets.get(key_id)
        if bucket is None:
            bucket = self._buckets[key_id] = Bucket(quota.count / quota.seconds, now=now, burst=quota.count)
            bucket.full_at = now  # who has asked for nothing yet has everything left
            if len(self._buckets) > self._known:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key_id)
        return bucket
