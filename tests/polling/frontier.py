"""What the best rule could do that knows the distribution exactly: fewest questions at a given mean delay.

Worked out backwards over a grid of one second; a question costs 1 and a second of delay `worth`, which is then chosen for the delay.
"""

from __future__ import annotations

import math
from itertools import accumulate, pairwise

from tests.polling.lengths import Done

END = 2400  # seconds; by then everything counts as done
LONGEST_PAUSE = 300
SOONEST = 2


def fewest(done: Done, *, delay: float) -> float:
    """Questions per job of the best rule whose mean delay is at most that."""
    shares = [*map(done, range(END)), 1.0]
    low, high = math.log(0.005), math.log(5.0)
    above, below = _best(shares, math.exp(low)), _best(shares, math.exp(high))
    for _ in range(12):
        middle = (low + high) / 2
        found = _best(shares, math.exp(middle))
        if found[1] <= delay:
            below, high = found, middle
        else:
            above, low = found, middle
    part = (above[1] - delay) / (above[1] - below[1])  # one of two rules by chance gives every delay between theirs
    return above[0] + part * (below[0] - above[0])


def _best(shares: list[float], worth: float) -> tuple[float, float]:
    areas = [0.0, *accumulate((low + high) / 2 for low, high in pairwise(shares))]
    cost, questions, late = [0.0] * (END + 1), [0.0] * (END + 1), [0.0] * (END + 1)
    for asked in range(END - 1, -1, -1):
        left = 1 - shares[asked]
        if left < 1e-9:
            continue
        least = math.inf
        for at in range(min(asked + SOONEST, END), min(asked + LONGEST_PAUSE, END) + 1):
            vain = areas[at] - areas[asked] - shares[asked] * (at - asked)
            if worth * vain > least:
                break
            if (total := left + worth * vain + cost[at]) < least:
                least, questions[asked], late[asked] = total, left + questions[at], vain + late[at]
        cost[asked] = least
    return questions[0], late[0]
