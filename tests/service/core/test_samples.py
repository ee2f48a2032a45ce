from __future__ import annotations

from dataclasses import fields

import orjson
import pytest

from service.core import samples
from service.core.events import EventType
from storage.records import OPEN_STATUSES, Charge, Task
from tests.service.core.builders import check_row, rules

NOW = 1_795_209_000_123_456
URL = "https://relay.example.org"
TASKS = [type for type in EventType if type.startswith("task.")]


@pytest.mark.parametrize("type", TASKS)
def test_a_sample_is_a_task_as_there_could_be_one(type: EventType) -> None:
    task = samples.sample_task(type, NOW)
    whole = Task(**{one.name: getattr(task, one.name) for one in fields(Task)})
    moved = {"due_at": whole.deadline_at} if whole.status in OPEN_STATUSES else {}
    check_row(Task(**{**whole.__dict__, **moved}), rules(NOW))
    assert task.created_at < NOW <= task.deadline_at
    assert (task.charge is Charge.CONFIRMED) == bool(task.outputs)


@pytest.mark.parametrize("type", EventType)
def test_no_real_row_has_the_ids_of_a_sample(type: EventType) -> None:
    body = samples.sample(type, id=samples.SAMPLE_EVENT, now=NOW, public_url=URL)
    told = orjson.loads(body)
    assert told["type"] == type.value and told["id"] == "evt_" + "0" * 26
    assert told["data"].get("name") == "sample" or told["data"]["id"].endswith("_" + "0" * 26)


def test_the_same_moment_makes_the_same_sample() -> None:
    made = {samples.sample(EventType.TASK_FAILED, id="evt_1", now=NOW, public_url=URL) for _ in range(2)}
    assert len(made) == 1
