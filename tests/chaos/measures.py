"""What a run measures, and the bounds that are promised."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

TTL_SECONDS = 12.0  # of a lane in these runs, but for the phase with the spans as delivered
TAKEN_OVER_WITHIN = TTL_SECONDS + 6
STOPPED_WITHIN = 2.0  # a lane that was given back has its next owner
DEFAULT_TAKEN_OVER_WITHIN = 90.0
NOTICED_WITHIN = 6.0  # a replica that is cut off says that it is not ready
BACK_WITHIN = 20.0


@dataclass(slots=True)
class Measured:
    """What the phases found out."""

    kills: int = 0
    pauses: int = 0
    lapses: int = 0  # pauses that ended while the next owner made the same attempts
    stops: int = 0
    server_restarts: int = 0
    server_back: list[float] = field(default_factory=list)  # from the order to restart until requests are taken again
    restarted_by_supervisor: int = 0
    take_over_killed: list[float] = field(default_factory=list)
    take_over_paused: list[float] = field(default_factory=list)
    take_over_stopped: list[float] = field(default_factory=list)
    take_over_default: float | None = None
    stop_seconds: list[float] = field(default_factory=list)
    rolling_stops: int = 0
    rolling_requests: int = 0
    rolling_trouble: dict[str, int] = field(default_factory=dict)
    cut_seconds: float = 0.0
    cut_door: bool = True  # whether the replica that was cut off takes requests, and so can say that it is not ready
    cut_noticed: float | None = None
    cut_taken_over: float | None = None
    cut_back: float | None = None
    cut_works_again: float | None = None


def broken(found: Measured, phases: Collection[str]) -> Iterator[tuple[str, str]]:
    """Rule and text of every bound that was not kept."""
    for name, times, most in (
        ("killed", found.take_over_killed, TAKEN_OVER_WITHIN),
        ("paused", found.take_over_paused, TAKEN_OVER_WITHIN),
        ("stopped", found.take_over_stopped, STOPPED_WITHIN),
    ):
        if times and max(times) > most:
            yield "take-over", f"a lane of a replica that was {name} waited {max(times):.1f} s; promised {most:g}"
    if "defaults" in phases and not _within(found.take_over_default, DEFAULT_TAKEN_OVER_WITHIN):
        waited = told(found.take_over_default)
        yield "take-over", f"with the spans as delivered: {waited}; promised {DEFAULT_TAKEN_OVER_WITHIN:g}"
    for cause, count in found.rolling_trouble.items():
        yield "rolling restart", f"{count} times {cause}"
    if "cut" in phases:
        yield from _cut(found)


def _cut(found: Measured) -> Iterator[tuple[str, str]]:
    at_its_door = (
        ("to say that it is not ready", found.cut_noticed, NOTICED_WITHIN),
        ("to be ready again", found.cut_back, BACK_WITHIN),
    )
    for what, seconds, most in (
        *(at_its_door if found.cut_door else ()),
        ("to lose its lanes", found.cut_taken_over, TAKEN_OVER_WITHIN),
        ("to own lanes again", found.cut_works_again, BACK_WITHIN),
    ):
        if not _within(seconds, most):
            yield "cut off", f"a replica without its database took {told(seconds)} {what}; promised {most:g}"


def told(seconds: float | None) -> str:
    return "for ever" if seconds is None else f"{seconds:.1f} s"


def _within(seconds: float | None, most: float) -> bool:
    return seconds is not None and seconds <= most
