"""Lives through the jobs of a day under one rule. The rule and what it learns are the service's own; only time is made up."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import fmean, quantiles

from service.core import schedule
from service.core.durations import Curve, Window, learned, stated
from tests.polling.lengths import Lengths

SECOND = 1_000_000
AT_ONCE = 5  # jobs under way together: what one teaches comes too late for the next four
Next = Callable[[float], float]


@dataclass(frozen=True, kw_only=True)
class Followed:
    """What became of one job: how often it was asked after, and how long after its end that was known, in seconds."""

    questions: int
    delay: float


@dataclass(frozen=True, kw_only=True)
class Figures:
    questions: float
    delay: float
    late: float  # the slowest twentieth is known later than that

    @classmethod
    def of(cls, jobs: list[Followed]) -> Figures:
        delays = [job.delay for job in jobs]
        return cls(
            questions=fmean(job.questions for job in jobs), delay=fmean(delays), late=quantiles(delays, n=20)[-1]
        )


def every_ten(_: float, elapsed: float) -> float:
    return elapsed + 10


def before_learning(expected: float, elapsed: float) -> float:
    """The rule that was replaced: pauses double until fast jobs are done, then an eighth of the time so far."""
    usual = 0.6 * expected
    pause = min(elapsed, usual - elapsed) if elapsed < usual else elapsed / 8
    return max(elapsed + min(max(pause, 2), 300), max(min(usual, 10), 2))


def follow(length: float, ask: Next) -> tuple[Followed, float, float]:
    """Ask until it is done; also the span that this teaches."""
    asked, questions = 0.0, 0
    while True:
        at = ask(asked)
        assert at > asked
        questions += 1
        if at >= length:
            return Followed(questions=questions, delay=at - length), asked, at
        asked = at


def fixed(lengths: Lengths, rule: Callable[[float, float], float], *, jobs: int, seed: int) -> list[Followed]:
    """A rule that learns nothing."""
    chance = random.Random(seed)
    return [
        follow(lengths.draw(chance, number), lambda elapsed: rule(lengths.stated, elapsed))[0] for number in range(jobs)
    ]


def learning(lengths: Lengths, *, jobs: int, seed: int) -> list[Followed]:
    """The service's rule, from the first job of an account on."""
    # Jitter is drawn apart, so that every rule gets the same jobs.
    return list(_learning(lengths, jobs, random.Random(seed), random.Random(-seed - 1)))


def _learning(lengths: Lengths, jobs: int, chance: random.Random, jitters: random.Random) -> Iterator[Followed]:
    windows: dict[int, Window] = defaultdict(Window)
    spans: dict[int, list[tuple[float, float]]] = defaultdict(list)
    curves: dict[int, Curve] = {}
    for number in range(jobs):
        level = number % lengths.levels
        curve = curves.get(level) or stated(lengths.stated)
        followed, after, by = follow(lengths.draw(chance, number), asking(curve, jitters))
        yield followed
        spans[level].append((after, by))
        if len(spans[level]) == AT_ONCE:
            windows[level] = windows[level].seen(spans.pop(level))
            curves[level] = learned(windows[level], stated(lengths.stated))


def asking(curve: Curve, jitters: random.Random) -> Next:
    def ask(elapsed: float) -> float:
        now = int(elapsed * SECOND)
        return schedule.next_poll_at(now, submitted_at=0, curve=curve, pushes=False, jitter=jitters.random()) / SECOND

    return ask
