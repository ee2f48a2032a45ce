"""Restoring: the database is an older copy, and what has happened since is not in it.

Whatever was open when the copy was made may have been bought since, by a life of this service that nobody remembers. So
it is in doubt, like a purchase whose answer was lost, and is looked for before anything is sent.
"""

from __future__ import annotations

from typing import Final

from service.core.buying import surely_absent
from service.core.events import EventType
from service.core.observation import Observation
from service.core.patience import calm, next_turn
from service.core.step import Draft, Note, Rules, Step, ignored, move
from service.core.times import iso
from storage.records import Charge, Task, TaskStatus, evolve

UNBOUGHT: Final = frozenset({TaskStatus.QUEUED, TaskStatus.SUBMITTING, TaskStatus.UNCONFIRMED})


def restored(task: Task, seen: Observation, rules: Rules) -> Step:
    """T19: what may have been bought since the copy was made is of unknown fate. Whoever has a job is asked after it as ever."""
    if task.status not in UNBOUGHT:
        return ignored(task)
    doubted = evolve(
        calm(task),
        status=TaskStatus.UNCONFIRMED,
        charge=Charge.POSSIBLE,
        # The life that is not remembered has ended: no purchase of it leaves any more, and look-ups settle from here.
        submission_deadline_at=rules.now,
        resends=task.resends if findable(task, rules) else max(task.resends, 1),
        permitted_at=None,  # it may have been used since
    )
    doubted = evolve(doubted, due_at=next_turn(doubted, rules))
    detail: dict[str, object] = {"was": task.status.value}
    if seen.reading.detail is not None:
        detail["why"] = seen.reading.detail
    told = task.status is TaskStatus.UNCONFIRMED or task.resends > 0
    # A fact of its own: queued again and bought, the task may be in doubt once more, and for another reason.
    draft = None if told else Draft(type=EventType.TASK_UNCONFIRMED, discriminator=f"restored:{rules.now}")
    return move(task, doubted, rules, Note(kind="restored", detail=detail), draft)


def findable(task: Task, rules: Rules) -> bool:
    """Whether everybody who may have been asked can be searched by our own id. A fallback's job could be anywhere."""
    return rules.look_up and rules.resend and task.fallbacks == "[]"


def unbought(task: Task, rules: Rules) -> bool:
    """Whether nothing was ever submitted as far as this database knows, and look-ups have told that nothing was since."""
    never = task.status is TaskStatus.UNCONFIRMED and task.submissions == 0 and not task.resends
    return never and findable(task, rules) and surely_absent(task, rules)


def queue_again(task: Task, rules: Rules, *, was: Task) -> Step:
    """T20: it stands where it stood when the copy was made."""
    free = evolve(calm(task), status=TaskStatus.QUEUED, charge=Charge.NONE, submission_deadline_at=None)
    return move(was, evolve(free, due_at=rules.now), rules, Note(kind="queued_again"))


def since(copied_at: int) -> str:
    """Why, in a line."""
    return f"the database is a copy made at {iso(copied_at)}; it may have been bought since"
