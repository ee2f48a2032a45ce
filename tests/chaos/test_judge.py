"""What only the whole run shows: which fault explains a duplicate, and whether a cursor missed anything."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from tests.chaos.judge import missed_in_feed, repeated
from tests.chaos.stage import Span
from tests.kill.receiver import Receipt

PAUSE = Span(what="SIGSTOP", replica=1, began=100, until=118)
KILL = Span(what="kill -9", replica=0, began=130, until=130)


def heard(at: float, event_id: str = "evt_1", status: int = 204) -> Receipt:
    body = event_id.encode()
    told: dict[str, Any] = {"event_id": event_id, "body": body, "sha256": hashlib.sha256(body).hexdigest()}
    return Receipt(**told, reason=None, status=status, at=at, answered_at=at)


@pytest.mark.parametrize(
    ("receipts", "explained"),
    [
        ([heard(99), heard(112)], [("SIGSTOP", 1)]),
        ([heard(99), heard(117.5), heard(131)], [("SIGSTOP", 1), ("kill -9", 1)]),
        ([heard(129), heard(131, "evt_2"), heard(132, "evt_2")], [("no fault", 1)]),
        ([heard(119), heard(125)], [("no fault", 1)]),
        ([heard(99, status=500), heard(112)], []),
        ([heard(110), heard(117)], [("SIGSTOP", 1)]),
    ],
)
def test_a_second_success_is_explained_by_the_last_fault_between_the_two(
    receipts: list[Receipt], explained: list[tuple[str, int]]
) -> None:
    assert repeated(receipts, [PAUSE, KILL]) == explained


def test_a_cursor_that_saw_each_event_once_missed_nothing() -> None:
    assert missed_in_feed(Counter(["a", "b"]), ["b", "a"]) == []


@pytest.mark.parametrize("seen", [["a"], ["a", "b", "b"], ["a", "b", "c"]])
def test_a_cursor_that_skipped_repeated_or_made_up_an_event_is_found_out(seen: list[str]) -> None:
    assert missed_in_feed(Counter(seen), ["a", "b"])


def test_a_fault_is_told_to_the_oracle_as_moments_close_together_from_its_beginning_to_its_end() -> None:
    instants = PAUSE.instants()
    assert (instants[0], instants[-1]) == (100, 118)
    assert max(after - before for before, after in pairwise(instants)) <= 0.5
    assert set(KILL.instants()) == {130}
