"""Fail-over: who is asked next when a task was refused and nothing was made.

Only that is a reason to go on: whatever may have been bought stays with the account that may have it.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from service.core.observation import Observation
from service.core.patience import calm
from service.core.step import Rules, Step, move, said
from storage.records import Failure, Task, TaskStatus, evolve, light


@light(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One who may take a task over, judged and prepared when the task was made. Texts as a task's own columns hold them."""

    account: str
    provider: str
    model: str
    input: str
    provider_options: str = "{}"
    cost_unit: str | None = None
    cost_estimated: str | None = None
    unit_price: str | None = None


def dump(candidates: Sequence[Candidate]) -> str:
    return orjson.dumps(list(candidates)).decode() if candidates else "[]"


def load(text: str) -> list[Candidate]:
    return [Candidate(**one) for one in orjson.loads(text)] if text != "[]" else []


def go_on(task: Task, seen: Observation, rules: Rules, failure: Failure) -> Step | None:
    """T17: the task on its next candidate, all of it in one step; None when there is none, or no time for one.

    The caller knows that nothing was made. An account that is no longer configured could only be waited for: it is skipped.
    """
    if task.fallbacks == "[]" or task.resends or rules.now >= task.deadline_at:
        return None
    waiting = load(task.fallbacks)
    skipped: list[str] = []
    while waiting:
        candidate = waiting.pop(0)
        if rules.usable is None or candidate.account in rules.usable:
            return _moved(task, candidate, waiting, skipped, seen, rules, failure)
        skipped.append(candidate.account)
    return None


def _moved(
    task: Task,
    to: Candidate,
    left: Sequence[Candidate],
    skipped: Sequence[str],
    seen: Observation,
    rules: Rules,
    failure: Failure,
) -> Step:
    changed = evolve(
        calm(task),
        status=TaskStatus.QUEUED,
        account=to.account,
        provider=to.provider,
        model=to.model,
        input=to.input,
        provider_options=to.provider_options,
        cost_unit=to.cost_unit,
        cost_estimated=to.cost_estimated,
        unit_price=to.unit_price,
        fallbacks=dump(left),
        due_at=rules.now,
    )
    more: dict[str, object] = {"to_account": to.account, "to_provider": to.provider, "to_model": to.model}
    if skipped:
        more["skipped"] = list(skipped)
    return move(task, changed, rules, said("failed_over", seen.reading, **{"message": failure.message, **more}))
