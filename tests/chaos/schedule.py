"""What goes wrong, and when: drawn from the seed alone."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

ROUND_SECONDS = 20.0  # in each, one replica is killed, one paused, one restarted
REPLICAS = 3
LAST_SECONDS = 2.0  # a kill that late in a run would only be its end


class Fault(StrEnum):
    """What is done to a replica, or to the database server."""

    KILL = "kill -9"
    PAUSE = "SIGSTOP"
    RESTART = "SIGTERM"
    SERVER_FAST = "PostgreSQL restarted, fast"
    SERVER_IMMEDIATE = "PostgreSQL restarted, immediate"

    @property
    def of_server(self) -> bool:
        return self in (Fault.SERVER_FAST, Fault.SERVER_IMMEDIATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One fault. `seconds`: how long the replica is away (killed) or stands still (paused)."""

    at: float
    fault: Fault
    replica: int = -1
    seconds: float = 0.0


def schedule(seed: int, seconds: float, *, pause_seconds: float, replicas: int = REPLICAS) -> list[Step]:
    """Every fault of a run of so many seconds, in order. At no time are all replicas away."""
    rng = random.Random(f"{seed}/chaos")
    steps: list[Step] = []
    begin = 0.0
    while begin + ROUND_SECONDS <= seconds + 0.001:
        killed, paused, restarted = rng.sample(range(replicas), 3)
        steps += [
            Step(at=begin + rng.uniform(0.5, 3), fault=Fault.KILL, replica=killed, seconds=rng.uniform(0.2, 2)),
            Step(at=begin + rng.uniform(3, 5), fault=Fault.PAUSE, replica=paused, seconds=pause_seconds),
            Step(at=begin + rng.uniform(7, 12), fault=Fault.RESTART, replica=restarted),
        ]
        begin += ROUND_SECONDS
    server = (Fault.SERVER_FAST, Fault.SERVER_IMMEDIATE)
    for fault, share in zip(server, (0.35, 0.7), strict=True):
        steps.append(Step(at=seconds * (share + rng.uniform(-0.05, 0.05)), fault=fault))
    return sorted((step for step in steps if step.at < seconds - LAST_SECONDS), key=lambda step: step.at)
