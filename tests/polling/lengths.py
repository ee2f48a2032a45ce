"""How long jobs take at providers that do not exist, drawn like those that do.

No provider publishes a distribution. What there is: 66 s (one Kling 3.0 turbo record), 82 s, "60-90 seconds", "60-180 seconds" (two
UlazAI contracts), 316 and 317 s (two AceData records), "1-5 min". A range is read as the middle nine tenths of a log-normal:
60-90 is a spread of 0.12, 60-180 one of 0.33.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

Draw = Callable[[random.Random, int], float]
Done = Callable[[float], float]


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """`stated`: what the contract says. `done`: the share of jobs done by a time, where that stays the same all day."""

    name: str
    stated: float
    draw: Draw
    done: Done | None = None
    levels: int = 1  # kinds that are told apart by what was ordered, taking turns


def near(middle: float, spread: float) -> tuple[Draw, Done]:
    """A log-normal."""

    def done(seconds: float) -> float:
        return 0.5 * (1 + math.erf(math.log(seconds / middle) / (spread * math.sqrt(2)))) if seconds > 0 else 0.0

    return lambda chance, _: middle * math.exp(spread * chance.gauss(0, 1)), done


def mixed(share: float, first: tuple[Draw, Done], second: tuple[Draw, Done]) -> tuple[Draw, Done]:
    def draw(chance: random.Random, number: int) -> float:
        return (first if chance.random() < share else second)[0](chance, number)

    return draw, lambda seconds: share * first[1](seconds) + (1 - share) * second[1](seconds)


def lengths(name: str, stated: float, both: tuple[Draw, Done]) -> Lengths:
    return Lengths(name=name, stated=stated, draw=both[0], done=both[1])


def then(first: tuple[Draw, Done], second: tuple[Draw, Done], number: int) -> Draw:
    """A provider that changes: from that job on."""
    return lambda chance, at: (first if at < number else second)[0](chance, at)


def turns(*kinds: tuple[Draw, Done]) -> Draw:
    return lambda chance, at: kinds[at % len(kinds)][0](chance, at)


CHANGE = 200
STEADY = (
    lengths("60 s, narrow (0.12)", 66, near(60, 0.12)),
    lengths("60 s (0.25)", 66, near(60, 0.25)),
    lengths("120 s (0.25)", 120, near(120, 0.25)),
    lengths("317 s, narrow (0.1)", 180, near(317, 0.1)),
    lengths("317 s (0.25)", 180, near(317, 0.25)),
    Lengths(
        name="60 s and 140 s (0.15), told apart", stated=90, draw=turns(near(60, 0.15), near(140, 0.15)), levels=2
    ),
)  # fmt: skip
# Jobs that differ so much that a hundred are too few to know them, or that no rule could do it by their age alone.
WIDE = (
    lengths("60 s and 140 s (0.15), not told apart", 90, mixed(0.6, near(60, 0.15), near(140, 0.15))),
    lengths("104 s, wide (0.33)", 120, near(104, 0.33)),
    lengths("90 s (0.2), every tenth 300 s (0.8)", 90, mixed(0.9, near(90, 0.2), near(300, 0.8))),
    lengths("100 s, without memory", 100, (lambda chance, _: chance.expovariate(0.01), lambda s: 1 - math.exp(-max(s, 0) / 100))),
)  # fmt: skip
CHANGING = (
    Lengths(name="60 s, then 120 s", stated=66, draw=then(near(60, 0.2), near(120, 0.2), CHANGE)),
    Lengths(name="120 s, then 60 s", stated=120, draw=then(near(120, 0.2), near(60, 0.2), CHANGE)),
)
MISSTATED = (
    Lengths(name="317 s, stated as 60 s", stated=60, draw=near(317, 0.2)[0]),
    Lengths(name="30 s, stated as 120 s", stated=120, draw=near(30, 0.2)[0]),
)
