"""How long a provider's jobs take: what was seen of the last ones, the curve it suggests, and when asking pays.

What is kept is what we know and nothing more. A push tells when a job was done; a poll tells only that it was done *between*
two questions. So each of the last jobs is kept as a span, by our own clock, and the curve is worked out anew from all of them.
Nothing that the curve itself suggested is ever stored: otherwise a schedule that asks at 60 s would find every job done
"at 60 s" and believe itself. A span of six hours after six hours of downtime says next to nothing, and changes nothing.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import accumulate, pairwise
from typing import Final, Self

from storage.records import light

KEPT: Final = 96  # spans: the last jobs alone, so that a provider that becomes slower or faster is followed
TENTHS: Final = 10  # spans are kept in tenths of a second
LONGEST: Final = 65_536  # seconds; jobs beyond 18 hours count as that long

PER_OCTAVE: Final = 16
# Bins of equal ratio: 4 % of five seconds and 4 % of an hour are alike to somebody who waits.
EDGES: Final = (0.0, *(2 ** (step / PER_OCTAVE) for step in range(16 * PER_OCTAVE + 1)))
BINS: Final = len(EDGES) - 1
WIDTHS: Final = tuple(high - low for low, high in pairwise(EDGES))

ROUNDS: Final = 12
BELIEF: Final = 2.0  # how many jobs what we believed before is worth
SPREAD: Final = 0.5  # of a job whose length is only stated: most take between 0.6 and 1.7 times that
DOUBT: Final = 0.1  # … or anything …
REACH: Final = 20.0  # … from a twentieth to twenty times

TAIL: Final = 0.05  # of the slowest jobs too few are seen to know them …
TAIL_PAUSE: Final = 1 / 8  # … so among them no pause is longer than that share of the time so far
HANGING: Final = 2.0  # at this many times their age, it is the job that is odd …
HANGING_PAUSE: Final = 1 / 12  # … and no pause is shorter than that

DELAY: Final = 4.8  # seconds from an end to our learning it, in the mean; asking every ten takes five
SOONEST: Final = 2.0  # seconds between two questions
DELAY_SHARES: Final = (
    0.01,
    0.25,
)  # … but at least and at most these shares of a job: hours may take longer, seconds must not
LEFT_OUT: Final = 0.02  # the slowest fiftieth is mere belief, and would eat up the delay of all others


@light(frozen=True, slots=True, kw_only=True)
class Window:
    """The last ends of one kind of job, oldest first, and how many there ever were. Each span is (after, by), in tenths."""

    count: int = 0
    spans: tuple[tuple[int, int], ...] = ()

    def seen(self, ends: Sequence[tuple[float, float]]) -> Self:
        """With further ends: done later than the first, and by the second, in seconds after the submission. Equal: exactly then."""
        added = tuple(_span(after, by) for after, by in ends[-KEPT:])
        return type(self)(count=min(self.count + len(ends), 10**15), spans=(self.spans + added)[-KEPT:])

    def dump(self) -> str:
        """Text of at most 1.3 kB: the count, then the spans."""
        return " ".join([str(self.count), *(f"{after}-{by}" if after < by else f"{by}" for after, by in self.spans)])

    @classmethod
    def load(cls, text: str | None) -> Self:
        """What `dump` wrote. Anything else is an empty window: at worst some jobs teach it again."""
        if text is None or not WINDOW.fullmatch(text):
            return cls()
        count, *spans = text.split(" ")
        pairs = ((int(first), int(last or first)) for first, _, last in (span.partition("-") for span in spans))
        return cls(count=int(count), spans=tuple(_span(after / TENTHS, by / TENTHS) for after, by in pairs)[-KEPT:])


WINDOW: Final = re.compile(r"[0-9]{1,16}(?: [0-9]{1,6}(?:-[0-9]{1,6})?){0,96}", re.ASCII)


def _span(after: float, by: float) -> tuple[int, int]:
    """In order and in range, whatever the clock did: one set back in between makes nonsense of both."""
    low, high = (int(min(seconds, LONGEST) * TENTHS) if seconds > 0 else 0 for seconds in (after, by))
    return min(low, high), max(low, high, 1)


class Curve:
    """The chance that a job is done by a time. Made by `stated` and `learned`; never changes.

    `jobs`: how many ends of this very kind of job it rests on.
    """

    def __init__(self, masses: Sequence[float], *, jobs: int = 0, expected: float) -> None:
        whole = math.fsum(masses)
        self.jobs = jobs
        self.expected = expected
        self.masses = tuple(mass / whole for mass in masses)
        self._done = (0.0, *(min(done, 1.0) for done in accumulate(self.masses)))
        # The area under the chance up to each edge: what has been waited in vain, in the mean, by somebody who looks there.
        areas = ((low + high) / 2 * width for low, high, width in zip(self._done, self._done[1:], WIDTHS, strict=False))
        self._area = (0.0, *accumulate(areas))

    def quantile(self, share: float) -> float:
        """Seconds after which that share of jobs is done."""
        place = min(max(bisect_left(self._done, share), 1), BINS)
        low, high = self._done[place - 1], self._done[place]
        within = (share - low) / (high - low) if high > low else 1.0
        return EDGES[place - 1] + min(max(within, 0.0), 1.0) * WIDTHS[place - 1]

    def done(self, seconds: float) -> float:
        """The share of jobs that is done by then."""
        return self._at(seconds)[0]

    @cached_property
    def _tail(self) -> float:
        return self.quantile(1 - TAIL)

    @cached_property
    def overdue(self) -> float:
        """Seconds after which a push that has not come is late: 1.5 times what is stated, and the slowest twentieth once known."""
        return (BELIEF * 1.5 * self.expected + self.jobs * self.quantile(0.95)) / (BELIEF + self.jobs)

    @cached_property
    def price(self) -> float:
        """Seconds of waiting that one question is worth, so that the mean delay is what we aim at."""
        middle = self.quantile(0.5)
        least, most = (share * middle for share in DELAY_SHARES)
        aim = max(least, min(most, DELAY), SOONEST / 2)
        low, high = math.log(0.02), math.log(60.0)
        for _ in range(14):
            middle = (low + high) / 2
            low, high = (middle, high) if self.delay(math.exp(middle)) < aim else (low, middle)
        return math.exp(low)

    def delay(self, price: float) -> float:
        """The mean delay when questions are asked at that price."""
        elapsed = waited = 0.0
        while 1 - self.done(elapsed) > LEFT_OUT:
            at = max(self._worth_asking(elapsed, price), elapsed + SOONEST)
            waited += self._vain(elapsed, at)
            elapsed = at
        return waited

    def next_ask(self, elapsed: float) -> float:
        """When to ask, in seconds after the submission, about a job that was not done at `elapsed`.

        As soon as the waiting in vain that is to be expected since then is worth a question. With this rule, questions
        lie dense where jobs end and far apart where they do not, as the square root of the hazard: the optimum, as long as the
        questions are many, and within 3 % of it when they are three.
        """
        return self._worth_asking(elapsed, self.price)

    def _worth_asking(self, elapsed: float, price: float) -> float:
        at = self._as_jobs_end(elapsed, price)
        if elapsed <= self._tail:
            return at
        shortest = elapsed * HANGING_PAUSE if elapsed > HANGING * self._tail else 0.0
        return elapsed + min(max(at - elapsed, shortest), elapsed * TAIL_PAUSE)

    def _as_jobs_end(self, elapsed: float, price: float) -> float:
        done, area, place = self._at(elapsed)
        left = 1 - done
        if left < 1e-6:
            return math.inf
        wanted = price * left
        reached = bisect_left(
            range(place + 1, BINS), wanted, key=lambda edge: self._area[edge] - area - done * (EDGES[edge] - elapsed)
        )
        edge = place + 1 + reached
        start = max(elapsed, EDGES[edge - 1])
        since_done, since_area, _ = self._at(start)
        missing = wanted - (since_area - area - done * (start - elapsed))
        slope, density = since_done - done, self.masses[edge - 1] / WIDTHS[edge - 1]
        if density <= 0.0 and slope <= 0.0:
            return EDGES[edge]
        root = math.sqrt(slope * slope + 2 * density * max(missing, 0.0))
        return start + 2 * missing / (slope + root) if slope + root > 0 else EDGES[edge]

    def _vain(self, elapsed: float, at: float) -> float:
        done, area, _ = self._at(elapsed)
        return self._at(at)[1] - area - done * (at - elapsed)

    def _at(self, seconds: float) -> tuple[float, float, int]:
        """The share done by then, the area under it, and the bin."""
        if seconds >= LONGEST:
            return 1.0, self._area[-1] + (seconds - LONGEST), BINS - 1
        place = bisect_right(EDGES, max(seconds, 0.0)) - 1
        into = seconds - EDGES[place]
        density = self.masses[place] / WIDTHS[place]
        low = self._done[place]
        done = min(low + density * into, self._done[place + 1])
        return done, self._area[place] + into * (low + density * into / 2), place


@lru_cache(maxsize=256)
def stated(expected_seconds: float) -> Curve:
    """The curve of a contract that only says how long a job takes."""
    expected = expected_seconds if 1.0 <= expected_seconds <= LONGEST else 1.0 if expected_seconds < 1.0 else LONGEST

    def done(seconds: float) -> float:
        near = 0.5 * (1 + math.erf(math.log(seconds / expected) / (SPREAD * math.sqrt(2)))) if seconds > 0 else 0.0
        far = 0.5 + 0.5 * math.log(seconds / expected) / math.log(REACH) if seconds > 0 else 0.0
        return (1 - DOUBT) * near + DOUBT * min(max(far, 0.0), 1.0)

    shares = [done(edge) for edge in EDGES]
    return Curve([high - low for low, high in pairwise(shares)], expected=expected)


def learned(window: Window, before: Curve) -> Curve:
    """The curve that best explains the spans, beginning with what was believed before them.

    Expectation and maximisation with a smoothing between (Silverman et al. 1990): each span shares itself out over its bins
    as the curve so far has them, the shares make the next curve. Only the spans are given; the curve inside of them is
    as smooth as can be.
    """
    if not window.spans:
        return before
    spans = [_bins(after / TENTHS, by / TENTHS) for after, by in window.spans]
    weight = 1 / (BELIEF + len(spans))
    believed = [BELIEF * weight * mass for mass in before.masses]
    masses: Sequence[float] = before.masses
    for _ in range(ROUNDS):
        shared = _smooth(_share(spans, masses))
        masses = [belief + weight * share for belief, share in zip(believed, shared, strict=True)]
    return Curve(masses, jobs=len(spans), expected=before.expected)


def _share(spans: Sequence[tuple[int, float, int, float]], masses: Sequence[float]) -> list[float]:
    """One job for each span, spread over its bins as the masses are."""
    sums = (0.0, *accumulate(masses))
    ratio = [0.0] * (BINS + 1)  # how much of a bin's mass all whole bins are given, as differences
    single = [0.0] * BINS
    for first, first_part, last, last_part in spans:
        if first == last:
            single[first] += 1.0
            continue
        inside = sums[last] - sums[first + 1]
        low, high = masses[first] * first_part, masses[last] * last_part
        each = 1 / max(low + inside + high, 1e-12)
        single[first] += low * each
        single[last] += high * each
        ratio[first + 1] += each
        ratio[last] -= each
    return [one + factor * mass for one, factor, mass in zip(single, accumulate(ratio), masses, strict=False)]


def _bins(after: float, by: float) -> tuple[int, float, int, float]:
    """First and last bin of a span, and how much of each it covers."""
    first = min(bisect_right(EDGES, after) - 1, BINS - 1)
    last = min(max(bisect_left(EDGES, by) - 1, first), BINS - 1)
    return first, (EDGES[first + 1] - after) / WIDTHS[first], last, (by - EDGES[last]) / WIDTHS[last]


def _smooth(shares: Sequence[float]) -> list[float]:
    padded = (shares[0], *shares, shares[-1])
    return [(low + 2 * one + high) / 4 for low, one, high in zip(padded, padded[1:], padded[2:], strict=False)]
