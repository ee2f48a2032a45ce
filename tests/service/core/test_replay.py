from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core import replay
from service.core.history import OVERWRITTEN, Heard, changes_for_good, heard
from service.core.lifecycle import advance
from service.core.observation import Claim, Observation
from service.core.replay import GIVEN, UNTOLD, differences, made, told
from service.core.step import Rules, Step, ignored
from storage import tasks
from storage.records import Task, TaskStatus
from tests.service.core.builders import DEADLINE, JOB, MINUTE, OUTPUT, QUEUED, START, intent, poll, reply, rules
from tests.service.core.test_history import FALLBACKS, facts, known_rules, observations, row_of

KEY = b"key"


def lived(task: Task, seen: Iterable[tuple[Observation, Rules, bool]]) -> tuple[Task, list[Heard], list[Step]]:
    """A life as it is recorded: the task as it is now, its history, and the steps that made it."""
    kept: list[Heard] = []
    steps: list[Step] = []
    for one, known, taken in seen:
        step = advance(task, one, known, taken=taken)
        if changes_for_good(task, step):
            kept.append(heard(row_of(task, one, known, taken=taken)[0]))
            steps.append(step)
        task = step.task
    return task, kept, steps


A_LIFE = [
    (intent(), rules(START), False),
    (reply(Claim.ACCEPTED, provider_task_id=JOB), rules(START + 1), False),
    *((poll(Claim.WAITING, provider_task_id=JOB), rules(START + n * MINUTE), False) for n in range(1, 9)),
    (poll(Claim.RUNNING, provider_task_id=JOB), rules(START + 10 * MINUTE), False),
    (poll(Claim.SUCCEEDED, provider_task_id=JOB, outputs=(OUTPUT,)), rules(START + 12 * MINUTE), False),
    (poll(Claim.FAILED, provider_task_id=JOB), rules(START + 13 * MINUTE), False),
    (poll(Claim.FAILED, provider_task_id=JOB), rules(START + 14 * MINUTE), False),
]


def test_a_life_is_lived_again_from_its_row_and_its_history() -> None:
    task, kept, steps = lived(QUEUED, A_LIFE)
    assert len(kept) == 6, "not the polls that said nothing new"
    assert made(task, kept) == QUEUED
    life = replay.replay(QUEUED, kept)
    assert list(differences(task, life)) == []
    assert [facts(step) for step in life.steps] == [facts(step) for step in steps]


def test_its_events_are_told_again_each_fact_once() -> None:
    _, kept, _ = lived(QUEUED, A_LIFE)
    facts = told(replay.replay(QUEUED, kept), kept, KEY)
    assert [(fact.type, fact.sequence) for fact in facts] == [
        ("task.submitted", 1), ("task.processing", 2), ("task.succeeded", 3), ("task.conflict", 4),
    ]  # fmt: skip
    assert [fact.hard for fact in facts] == [False, False, True, False]
    assert facts[2].at == START + 12 * MINUTE and facts[2].task.outputs == (OUTPUT,)


@given(seen=st.lists(st.tuples(observations, known_rules, st.booleans()), max_size=12), fallbacks=st.booleans())
def test_any_life_is_lived_again(seen: list[tuple[Observation, Rules, bool]], fallbacks: bool) -> None:
    began = replace(QUEUED, fallbacks=FALLBACKS, cost_unit="unit") if fallbacks else QUEUED
    later = sorted(seen, key=lambda one: one[1].now)
    task, kept, _ = lived(began, [(intent(), rules(START), False), *later])
    assert made(task, kept) == began
    assert list(differences(task, replay.replay(began, kept))) == []


def test_a_reducer_that_makes_nothing_of_an_observation_any_more_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    task, kept, _ = lived(QUEUED, A_LIFE)
    monkeypatch.setattr("service.core.verdicts._after_the_end", lambda task, *_: ignored(task))
    found = list(differences(task, replay.replay(QUEUED, kept)))
    assert [field for field, _, _ in found] == ["sequence", "history", "history"]


def test_a_row_that_was_touched_by_hand_differs() -> None:
    task, kept, _ = lived(QUEUED, A_LIFE)
    touched = replace(task, status=TaskStatus.FAILED, finished_at=DEADLINE)
    assert [field for field, _, _ in differences(touched, replay.replay(QUEUED, kept))] == ["status", "finished_at"]


def test_a_missing_observation_is_noticed() -> None:
    task, kept, _ = lived(QUEUED, A_LIFE)
    for gone in range(len(kept)):
        rest = kept[:gone] + kept[gone + 1 :]
        assert list(differences(task, replay.replay(made(task, rest), rest))) != []


def test_a_row_older_than_its_history_differs() -> None:
    task, kept, _ = lived(QUEUED, A_LIFE)
    behind = replace(task, version=kept[-1].version - 1)
    assert [field for field, _, _ in differences(behind, replay.replay(QUEUED, kept))] == ["version"]


def test_every_field_of_a_task_is_given_overwritten_or_lived() -> None:
    """What a task is made with and not listed would come back empty; what storage can change is no gift."""
    known = {*GIVEN, *OVERWRITTEN, "status", "due_at", "updated_at"}
    required = {one.name for one in fields(Task) if one.default is MISSING}
    assert required <= known
    changed = set(tasks._mutable(QUEUED)) | set(tasks.MOVED)
    assert changed.isdisjoint(set(GIVEN) - {"id"})
    assert set(UNTOLD) <= {one.name for one in fields(Task)}
