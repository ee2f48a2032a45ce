"""Every sort of request has its turn, whatever waits beside it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

import pytest

from service.pipeline.turns import Lot, Turns, probe


def waiting(**counts: int) -> dict[Lot, deque[str]]:
    return {lot: deque([lot.name] * counts.get(lot.name.lower(), 0)) for lot in Lot}


def at_most(count: int, log: list[str], *, refused: str = "") -> Callable[[str], bool]:
    def start(one: str) -> bool:
        if len(log) >= count or one == refused:
            return False
        log.append(one)
        return True

    return start


def test_a_thousand_polls_leave_every_other_sort_its_quarter() -> None:
    log: list[str] = []
    assert Turns[str]().take(waiting(verify=9, submit=9, look_up=9, poll=1000), at_most(20, log)) == 20
    assert Counter(log) == dict.fromkeys(("VERIFY", "SUBMIT", "LOOK_UP", "POLL"), 5)


def test_what_nobody_else_needs_goes_to_whoever_waits() -> None:
    log: list[str] = []
    left = waiting(submit=3, poll=100)
    assert Turns[str]().take(left, at_most(50, log)) == 50
    assert Counter(log) == {"SUBMIT": 3, "POLL": 47}
    assert len(left[Lot.POLL]) == 53


def test_one_request_a_round_is_shared_as_well() -> None:
    turns, log = Turns[str](), list[str]()
    for _ in range(8):
        turns.take(waiting(verify=1, submit=1, look_up=1, poll=1), at_most(len(log) + 1, log))
    assert Counter(log) == dict.fromkeys(("VERIFY", "SUBMIT", "LOOK_UP", "POLL"), 2)


def test_a_sort_that_may_not_start_holds_nobody_up() -> None:
    log: list[str] = []
    assert Turns[str]().take(waiting(submit=5, poll=5), at_most(99, log, refused="SUBMIT")) == 5
    assert set(log) == {"POLL"}


def test_where_nothing_may_start_it_ends() -> None:
    assert Turns[str]().take(waiting(submit=5, poll=5), lambda one: False) == 0


@pytest.mark.parametrize(
    ("counts", "first"),
    [
        ({"submit": 5, "poll": 5}, "POLL"),
        ({"submit": 5, "look_up": 1, "poll": 1}, "LOOK_UP"),
        ({"submit": 5}, "SUBMIT"),
    ],
)
def test_a_probe_is_one_request_and_rather_a_question(counts: dict[str, int], first: str) -> None:
    log: list[str] = []
    assert probe(waiting(**counts), at_most(99, log)) == 1
    assert log == [first]


def test_a_probe_that_may_not_be_sent_is_none() -> None:
    assert probe(waiting(submit=1, poll=1), lambda one: False) == 0
