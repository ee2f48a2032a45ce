from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.pipeline.backlog import AGAIN_EVERY, Backlog, Half
from storage.outbox import Due


def due(id: str, attempts: int = 0) -> Due:
    return Due(id, f"evt_{id}", "task.failed", attempts, None, 0, b"{}")


def filled(half: Half, backlog: Backlog, ids: Iterable[str]) -> int:
    limit = backlog.read_limit(half)
    return backlog.fill(half, [due(id) for id in ids], limit)


@given(firsts=st.integers(0, 40), agains=st.integers(0, 40))
def test_neither_half_starves_the_other_and_each_keeps_its_order(firsts: int, agains: int) -> None:
    backlog = Backlog()
    filled(backlog.firsts, backlog, [f"f{n}" for n in range(firsts)])
    filled(backlog.agains, backlog, [f"a{n}" for n in range(agains)])
    taken = [backlog.take().id for _ in range(len(backlog))]
    assert [id for id in taken if id[0] == "f"] == [f"f{n}" for n in range(firsts)]
    assert [id for id in taken if id[0] == "a"] == [f"a{n}" for n in range(agains)]
    both = min(agains * AGAIN_EVERY, firsts * AGAIN_EVERY // (AGAIN_EVERY - 1))
    share = sum(id[0] == "a" for id in taken[:both])
    assert abs(share - both / AGAIN_EVERY) <= 1, taken
    with pytest.raises(IndexError):
        backlog.take()


def test_a_new_delivery_is_taken_once_nothing_older_waits_elsewhere() -> None:
    backlog = Backlog()
    assert not backlog.offer(due("x")), "the database has not been asked yet"
    filled(backlog.firsts, backlog, [])
    assert not backlog.firsts.more
    assert backlog.offer(due("x"))
    assert not backlog.offer(due("x")), "known already"
    assert backlog.firsts.more


def test_retries_that_wait_do_not_keep_a_new_delivery_out() -> None:
    backlog = Backlog()
    filled(backlog.firsts, backlog, [])
    assert backlog.agains.more
    assert backlog.offer(due("x"))


def test_what_is_in_flight_is_not_taken_again_and_what_does_not_fit_is_looked_for_later() -> None:
    backlog = Backlog()
    room = backlog.firsts.room
    assert filled(backlog.firsts, backlog, [f"f{n}" for n in range(room)]) == room
    backlog.take()
    assert filled(backlog.firsts, backlog, [f"f{n}" for n in range(room + 5)]) == 1
    assert backlog.firsts.more and not backlog.firsts.hungry


def test_a_delivery_refused_while_the_rows_are_read_is_looked_for_again() -> None:
    backlog = Backlog()
    limit = backlog.read_limit(backlog.firsts)
    backlog.refuse()
    backlog.fill(backlog.firsts, [], limit)
    assert backlog.firsts.hungry


def test_what_was_restarted_while_it_was_in_flight_is_looked_for_once_it_is_settled() -> None:
    backlog = Backlog()
    filled(backlog.firsts, backlog, ["a", "b"])
    filled(backlog.agains, backlog, [])
    backlog.take(), backlog.take()
    backlog.fill(backlog.firsts, [replace(due("a"), since=due("a").since + 1), due("b")], 9)
    backlog.settled("b")
    assert not backlog.hungry
    backlog.settled("a")
    assert backlog.hungry and not backlog.known


def test_what_is_set_aside_can_be_read_again() -> None:
    backlog = Backlog()
    filled(backlog.agains, backlog, ["a", "b"])
    backlog.take()
    backlog.set_aside()
    assert len(backlog) == 0 and list(backlog.known) == ["a"] and backlog.agains.hungry
    assert filled(backlog.agains, backlog, ["a", "b"]) == 1
