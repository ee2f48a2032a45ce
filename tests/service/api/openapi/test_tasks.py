from __future__ import annotations

from typing import Any

import pytest

from service.api.openapi import tasks
from service.core.event_schema import TASK
from tests.service.api import witness

SETTLE = tasks.OPERATIONS["POST", "/v1/tasks/{id}/resolve"].body
SETTLE_MANY = tasks.OPERATIONS["POST", "/v1/tasks/resolve"].body


def test_a_task_has_what_events_tell_of_it_and_what_comes_next() -> None:
    members = tasks.SCHEMAS["Task"]["properties"]
    assert set(members) == set(TASK) - {"truncated"} | {"evidence", "next"}
    assert set(tasks.SCHEMAS["TaskListed"]["properties"]) == set(members) - {"evidence", "next"}


@pytest.mark.parametrize(
    ("body", "good"),
    [
        ({"action": "adopt", "provider_task_id": "9017"}, True),
        ({"action": "adopt"}, False),
        ({"action": "adopt", "provider_task_id": "../x"}, False),
        ({"action": "resubmit", "possible_double_charge": True}, True),
        ({"action": "resubmit"}, False),
        ({"action": "resubmit", "possible_double_charge": False}, False),
        ({"action": "abandon"}, True),
        ({"action": "abandon", "possible_double_charge": True}, False),
    ],
)
def test_a_second_charge_is_accepted_in_so_many_words(body: dict[str, Any], good: bool) -> None:
    assert SETTLE is not None
    assert (witness.wrong(SETTLE.schema, body, strict=False) == []) == good


@pytest.mark.parametrize(
    ("filter", "good"), [({"status": "unconfirmed"}, True), ({}, False), ({"status": "failed"}, False), (None, False)]
)
def test_a_word_about_many_says_which(filter: object, good: bool) -> None:
    assert SETTLE_MANY is not None
    assert (witness.wrong(SETTLE_MANY.schema, {"action": "abandon", "filter": filter}, strict=False) == []) == good
