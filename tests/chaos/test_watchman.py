"""How long a lane had no owner that works is read off who owned it when."""

from __future__ import annotations

from tests.chaos.watchman import Handover, Place, Watchman, pid_of

A, B, C = (("endpoint", "ep_1"), ("account", "x"), ("account", "y"))
DEAD, NEXT = 11, 22


def test_only_the_lanes_that_a_life_owned_at_its_end_count_and_only_once_somebody_owns_them() -> None:
    watchman = Watchman("")
    seen: list[tuple[float, Place, int | None, int | None]] = [
        (1, A, None, DEAD),
        (1, B, None, DEAD),
        (1, C, None, DEAD),
        (5, C, DEAD, None),  # given back before
        (10.5, B, DEAD, None),
        (11, C, None, NEXT),
        (22, A, DEAD, NEXT),
        (23, B, None, NEXT),
        (30, A, NEXT, None),
        (31, A, None, NEXT),
    ]
    watchman.handovers = [Handover(at=at, lane=lane, before=before, after=after) for at, lane, before, after in seen]
    assert watchman.taken_over(DEAD, 10, 10) == [(A, 12), (B, 13)]
    assert watchman.taken_over(DEAD, 10, 22.5) == [(A, 0), (B, 0.5)]


def test_an_owner_is_known_by_its_process_id() -> None:
    assert (pid_of("4711-00ff"), pid_of(None)) == (4711, None)
