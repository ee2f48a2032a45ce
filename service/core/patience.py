"""How long we wait for a better answer: when to ask next, and counts of answers that decide nothing."""

from __future__ import annotations

from typing import Final

from service.core import schedule
from service.core.durations import stated
from service.core.observation import Claim, Observation, Source
from service.core.step import Rules
from service.core.times import DAY, SECOND
from storage.records import OnAmbiguous, Streak, Task, TaskStatus, evolve

SLOW_POLL_SECONDS: Final = 3_600  # after we gave up on a bound task …
SLOW_POLL_FOR_SECONDS: Final = 7 * 86_400  # … for this long
LATE_VERDICT_SECONDS: Final = 30 * 86_400  # how long a verdict may still arrive after an end that is not final
LOOK_UP_AGAIN_SECONDS: Final = 30  # after a look-up that failed
LONGEST_WAIT: Final = 7 * DAY  # no deadline is further away

END_CLAIMS: Final = (Claim.SUCCEEDED, Claim.FAILED)
QUERIES: Final = (Source.POLL, Source.LOOK_UP)


def asks(task: Task, seen: Observation) -> bool:
    """Whether this answers a question that an open task waits for: a bound one is polled, an unconfirmed one looked up."""
    if task.status is TaskStatus.UNCONFIRMED:
        return seen.source is Source.LOOK_UP
    return task.status is TaskStatus.PROCESSING and seen.source in QUERIES


def asked_past_deadline(task: Task, seen: Observation) -> bool:
    """The one query that a task gets past its deadline; one under way when it passed does not count."""
    return seen.source in QUERIES and seen.at >= task.deadline_at


def next_query(task: Task, rules: Rules) -> int:
    """When to ask again after an open task: at its deadline at the latest, where it is looked at in any case."""
    if task.status is TaskStatus.UNCONFIRMED:
        at = next_turn(task, rules, soonest=rules.now + LOOK_UP_AGAIN_SECONDS * SECOND)
    elif task.adopted_at is not None:
        at = rules.now + LOOK_UP_AGAIN_SECONDS * SECOND  # somebody waits to hear whether it is there
    else:
        at = schedule.next_poll_at(
            rules.now,
            submitted_at=task.submitted_at or task.created_at,
            curve=stated(rules.expected_seconds) if rules.curve is None else rules.curve(task),
            pushes=rules.pushes,
            jitter=rules.jitter,
        )
    return min(at, task.deadline_at)


def next_look_up(task: Task, rules: Rules) -> int:
    """When to look for an unconfirmed purchase again; without look-up nothing can be learned before the deadline."""
    if not rules.look_up:
        return task.deadline_at
    return schedule.resolver_at(
        task.streak_count if task.streak is Streak.ABSENT else 0,
        deadline_at=task.submission_deadline_at or rules.now,
        settle_seconds=rules.settle_seconds,
        now=rules.now,
    )


def resend_at(task: Task, rules: Rules) -> int | None:
    """When an unconfirmed purchase may be sent once more without another look-up: by a person's word, or by its policy.

    Never while its last submission may still leave; and a policy, which nobody watches, also waits for it to settle.
    """
    if task.submission_deadline_at is None:
        return None
    if task.permitted_at is not None:
        return task.submission_deadline_at
    if task.on_ambiguous is OnAmbiguous.RESUBMIT and not task.resends and not rules.look_up:
        return task.submission_deadline_at + span(rules.settle_seconds)
    return None


def next_turn(task: Task, rules: Rules, *, soonest: int = 0) -> int:
    """When an unconfirmed task is seen to next: to look for it (not before `soonest`), to send it once more, or to end it."""
    at = max(next_look_up(task, rules), soonest)
    again = resend_at(task, rules)
    return min(at, task.deadline_at, at if again is None else max(again, rules.now))


def late(task: Task, rules: Rules) -> bool:
    """Whether it ended so long ago that nothing is heard of it any more."""
    return task.finished_at is not None and rules.now > task.finished_at + LATE_VERDICT_SECONDS * SECOND


def asked_again(task: Task, seen: Observation, rules: Rules) -> Task:
    """Still alive: asked again at the usual pace, or soon and a few times where a push claimed an end and the answer lags."""
    if seen.prompted_by in END_CLAIMS or task.streak is Streak.LAG:
        counted = streak(task, Streak.LAG, rules.now)
        at = schedule.lag_poll_at(counted.streak_count - 1, rules.now)
        if at is not None:
            return evolve(counted, due_at=min(at, task.deadline_at))
    task = calm(task)
    return evolve(task, due_at=next_query(task, rules))


def slow_poll_at(task: Task, rules: Rules) -> int | None:
    """When to ask again after a task we gave up on; None once its week is over."""
    at = rules.now + SLOW_POLL_SECONDS * SECOND
    return at if at <= (task.finished_at or rules.now) + SLOW_POLL_FOR_SECONDS * SECOND else None


def span(seconds: float) -> int:
    """Microseconds of a wait that may have been somebody else's wish: nonsense is none, and too long is cut."""
    return int(min(seconds, LONGEST_WAIT / SECOND) * SECOND) if seconds > 0 else 0


def streak(task: Task, kind: Streak, at: int) -> Task:
    """Count one more answer of the same inconclusive kind."""
    again = task.streak is kind
    return evolve(
        task,
        streak=kind,
        streak_count=task.streak_count + 1 if again else 1,
        streak_since=task.streak_since if again else at,
        streak_last_at=at,
    )


def lasted(task: Task, count: int, seconds: int, rules: Rules) -> bool:
    """Whether the answers were enough of them, over long enough."""
    since = task.streak_since if task.streak_since is not None else rules.now
    return task.streak_count >= count and rules.now - since >= seconds * SECOND


def calm(task: Task) -> Task:
    if task.streak is None:
        return task
    return evolve(task, streak=None, streak_count=0, streak_since=None, streak_last_at=None)
