"""Resolving: a person settles a purchase whose fate is unknown, and what of that is audited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from service.core.adopting import adoptable
from service.core.buying import Resend
from service.core.ending import ended
from service.core.events import EventType
from service.core.observation import Claim, Observation
from service.core.patience import late, next_turn
from service.core.step import Draft, Outcome, Rules, Step, ignored, move, ordered
from storage.records import Charge, Failure, FailureCode, Task, TaskStatus, evolve, light


@light(frozen=True, slots=True, kw_only=True)
class Deed:
    """Something a person or a policy decided, not yet stored."""

    action: str
    detail: Mapping[str, object] = field(default_factory=dict)


def permit(task: Task, seen: Observation, rules: Rules) -> Step:
    """A person accepts a possible second charge. Kept with the task, so that whoever works its lane next sends it, once."""
    if not permissible(task, rules):
        return ignored(task)
    allowed = evolve(task, permitted_at=rules.now)
    return move(task, evolve(allowed, due_at=next_turn(allowed, rules)), rules, ordered("resubmit_allowed", seen))


def permissible(task: Task, rules: Rules) -> bool:
    """Whether a permission would lead to a submission: there is a purchase in doubt, somebody to send it, and time."""
    if task.status is not TaskStatus.UNCONFIRMED or task.permitted_at is not None or not rules.configured:
        return False
    over_at = task.submission_deadline_at
    return over_at is not None and max(over_at, rules.now) < task.deadline_at


def abandon(task: Task, seen: Observation, rules: Rules) -> Step:
    """T8. A person gives up on it; the provider may still have it and charge for it."""
    if task.status is not TaskStatus.UNCONFIRMED:
        return ignored(task)
    failure = Failure(
        code=FailureCode.SUBMIT_ABANDONED, message="given up: whether it was bought stayed unknown", retryable=True
    )
    end = ended(task, TaskStatus.FAILED, rules, final=False, failure=failure, charge=Charge.POSSIBLE)
    return move(task, end, rules, ordered("abandoned", seen), Draft(type=EventType.TASK_FAILED))


def deed(seen: Observation, step: Step) -> Deed | None:
    """What must be audited of a step: a person's word, or the policy that spoke in their place."""
    if step.outcome is Outcome.IGNORED:
        return None
    match seen.claim:
        case Claim.ADOPT:
            return Deed(action="adopt", detail={"provider_task_id": seen.reading.provider_task_id})
        case Claim.RESUBMIT:
            return Deed(action="resubmit", detail={"possible_double_charge": True})
        case Claim.ABANDON:
            return Deed(action="abandon")
        case Claim.CANCEL:
            return Deed(action="cancel")
        case Claim.INTENT if step.notes[0].detail.get("resend") is Resend.POLICY:
            return Deed(action="resubmit", detail={"by": "policy", "submission": step.task.submissions})
        case _:
            return None


def why_not(task: Task, claim: Claim, rules: Rules) -> str | None:
    """Why a person's word changes nothing here, and what can be done; None when it would."""
    if claim is Claim.ADOPT and adoptable(task, rules) and rules.configured:
        return None
    if claim is Claim.RESUBMIT and permissible(task, rules):
        return None
    if claim is Claim.ABANDON and task.status is TaskStatus.UNCONFIRMED:
        return None
    if task.status is TaskStatus.UNCONFIRMED:
        return _unconfirmed(task, claim, rules)
    return _otherwise(task, rules)


def _unconfirmed(task: Task, claim: Claim, rules: Rules) -> str:
    if not rules.configured:
        return f"The account {task.account} is not configured any more, so nobody can be asked. It can be abandoned."
    if task.permitted_at is not None and claim is Claim.RESUBMIT:
        return "It may be sent once more already, and that is waiting for its turn. Nothing was added to it."
    return "Its deadline comes before it could be sent once more. Adopt its job if you know it, or create a new task."


def _otherwise(task: Task, rules: Rules) -> str:
    """Nothing is in doubt, or nothing can be learned any more."""
    match task.status:
        case TaskStatus.QUEUED:
            return "It is not bought yet, so nothing is in doubt. It can be canceled."
        case TaskStatus.SUBMITTING:
            return "It is being bought right now. Wait for the answer; without one it becomes unconfirmed."
        case TaskStatus.PROCESSING:
            return f"It has its job, {task.provider_task_id}, and follows it to its end."
        case _ if task.final_at is not None:
            return f"It has ended for good: it is {task.status}. Create a new task if you need another."
        case _ if task.provider_task_id is not None:
            return f"It ended as {task.status} with its job, {task.provider_task_id}; a late verdict of that one still counts."
        case _ if late(task, rules):
            return f"It ended as {task.status} so long ago that nothing counts any more. Create a new task."
        case _:
            return f"It ended as {task.status}: only adopt can still be said of it, with the id of its job."
