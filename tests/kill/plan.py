"""What one run does, drawn from its seed alone: which installations, where each of their lives ends, how tasks misbehave."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from service.telemetry.failpoints import POINTS

KILLS_PER_INSTALLATION = 25
LONGEST_RANDOM_SECONDS = 1.2  # a life is up after a tenth of a second and busy from then on

PUSHES = ("before_push", "after_push")
LOOK_UPS = ("after_look_up", "after_look_up_stored")
RESENDS = ("before_resend",)
STOPS = ("at_stop", "after_stop")  # reached after SIGTERM
RELEASES = ("before_release_commit", "after_release")  # reached when nothing is to do for two seconds
ONCE = ("at_start", "after_claim", *RESENDS, *RELEASES, *STOPS)  # reached once in a life, or hardly more often
PATIENCE: Mapping[str, float] = {
    **dict.fromkeys(LOOK_UPS, 11.0),  # a look-up waits for the deadline of its submission
    **dict.fromkeys(RESENDS, 24.0),  # and a second purchase for three look-ups, five seconds apart
    **dict.fromkeys(RELEASES, 12.0),
    **dict.fromkeys(STOPS, 35.0),
}
USUAL_PATIENCE = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A provider as the kill test sees it. `resends`: a purchase nobody knows of is made once more."""

    name: str
    model: str
    pushes: bool
    look_up: bool
    resends: bool

    @property
    def points(self) -> tuple[str, ...]:
        """The fail-points that this kind's flow passes."""
        never = (
            *(() if self.pushes else PUSHES),
            *(() if self.look_up else LOOK_UPS),
            *(() if self.resends else RESENDS),
        )
        return tuple(point for point in POINTS if point not in never)


KINDS = {
    kind.name: kind
    for kind in (
        Kind(name="cloudsway", model="kling-3.0-turbo", pushes=True, look_up=True, resends=True),
        Kind(name="acedata", model="kling-v3", pushes=True, look_up=True, resends=False),
        Kind(name="ulazai", model="kling-3.0", pushes=False, look_up=False, resends=False),
        Kind(name="apiinone", model="kling-3", pushes=False, look_up=False, resends=False),
    )
}

# What the provider does with a task, with its weight. No order may make every purchase fail: each task shall end.
BEHAVIOUR: Sequence[tuple[int, str]] = (
    (50, ""),
    (6, "late-reply=0.3"),  # time to die between sending and reading
    (4, "lost-reply"),
    (3, "status-after=502"),
    (2, "garbage"),
    (1, "hang-after"),
    (4, "fail"),
    (3, "refuse"),
)
OF_PUSHES: Sequence[tuple[int, str]] = (
    (5, "no-push"),
    (6, "late-push=0.6"),
    (6, "push-twice"),
    (4, "out-of-order"),
    (5, "push-before-reply, seconds=0"),
    (2, "push-before-reply, seconds=0, lost-reply"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """How one life ends: at a fail-point's nth passing, or after so many seconds. `seconds` counts if the point is not passed."""

    index: int
    point: str | None
    times: int
    seconds: float

    @property
    def armed(self) -> str:
        return f"{self.point}:{self.times}" if self.point else ""

    def __str__(self) -> str:
        return self.armed or f"random at {self.seconds:.3f} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One installation: its kind, its own seed and its kills in order."""

    kind: Kind
    number: int
    seed: str
    kills: tuple[Kill, ...]

    @property
    def name(self) -> str:
        return f"{self.kind.name}-{self.number}"


def plans(seed: int, kills: int, kinds: Sequence[str]) -> list[Plan]:
    """Every installation of a run; `kills` for each kind. Kinds alternate, so that side by side they differ."""
    by_kind = [list(_of_kind(seed, kills, KINDS[name])) for name in kinds]
    most = max(map(len, by_kind), default=0)
    return [installations[number] for number in range(most) for installations in by_kind if number < len(installations)]


def _of_kind(seed: int, kills: int, kind: Kind) -> Iterator[Plan]:
    # Kinds begin at different points: a short run then still passes all of them, at one kind or another.
    points, begin = kind.points, list(KINDS).index(kind.name) * len(kind.points) // len(KINDS)
    for number, first in enumerate(range(0, kills, KILLS_PER_INSTALLATION)):
        own = f"{seed}/{kind.name}/{number}"
        rng = random.Random(own)
        indexes = range(first, min(first + KILLS_PER_INSTALLATION, kills))
        turn = [points[(begin + index // 2) % len(points)] for index in range(first, indexes.stop + 1)]
        ends = [_kill(index, turn[index - first], turn[index - first + 1], rng) for index in indexes]
        yield Plan(kind=kind, number=number, seed=own, kills=tuple(ends))


def _kill(index: int, point: str, following: str, rng: random.Random) -> Kill:
    """Every other one at a fail-point, round robin; the others whenever, unless the next point needs a purchase that never left."""
    if index % 2 and following in RESENDS:
        return Kill(index=index, point="after_intent", times=1, seconds=USUAL_PATIENCE)
    if index % 2:
        return Kill(index=index, point=None, times=0, seconds=rng.uniform(0.0, LONGEST_RANDOM_SECONDS))
    times = 1 if point in ONCE else rng.randint(1, 2 if point in LOOK_UPS else 5)
    return Kill(index=index, point=point, times=times, seconds=PATIENCE.get(point, USUAL_PATIENCE))


def behaviour(kind: Kind, rng: random.Random) -> str:
    """What the sandbox is told to do with one task."""
    choices = [*BEHAVIOUR, *(OF_PUSHES if kind.pushes else ())]
    [(_, chosen)] = rng.choices(choices, weights=[weight for weight, _ in choices])
    return chosen
