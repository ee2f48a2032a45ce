from __future__ import annotations

import pytest

from service.api.wrong_keys import ADDRESSES, EVERY, MOST, SECOND, WrongKeys, address_of

NOW = 1_790_000_000 * SECOND


def used_up(wrong: WrongKeys, address: str = "192.0.2.1", now: int = NOW) -> None:
    for _ in range(MOST):
        assert wrong.note(address, now) == 0


def test_twenty_a_minute_are_heard_and_the_next_is_told_how_long_to_wait() -> None:
    wrong = WrongKeys()
    used_up(wrong)
    assert wrong.over("192.0.2.1", NOW) and not wrong.over("192.0.2.2", NOW)
    assert wrong.note("192.0.2.1", NOW) == 3
    assert wrong.note("192.0.2.1", NOW + 2 * SECOND) == 1
    assert wrong.note("192.0.2.1", NOW + EVERY) == 0
    assert wrong.note("192.0.2.1", NOW + EVERY) == 3
    assert wrong.note("192.0.2.1", NOW + EVERY + 60 * SECOND) == 0
    used = sum(wrong.note("192.0.2.1", NOW + EVERY + 60 * SECOND) == 0 for _ in range(50))
    assert used == MOST - 1, "a minute later all is forgotten, and no more"


def test_who_was_refused_does_not_wait_longer_for_having_asked() -> None:
    wrong = WrongKeys()
    used_up(wrong)
    assert [wrong.note("192.0.2.1", NOW) for _ in range(100)] == [3] * 100


def test_memory_is_bounded_and_who_was_quiet_for_longest_is_forgotten_first() -> None:
    wrong = WrongKeys()
    used_up(wrong, "first")
    used_up(wrong, "second")
    wrong.note("first", NOW + EVERY)
    for number in range(ADDRESSES - 1):
        wrong.note(f"n{number}", NOW)
    assert len(wrong._debts) == ADDRESSES
    assert wrong.over("first", NOW + EVERY) and not wrong.over("second", NOW)


@pytest.mark.parametrize(
    ("client", "counted"),
    [
        (("192.0.2.1", 80), "192.0.2.1"),
        (("::ffff:192.0.2.1", 80), "192.0.2.1"),
        (("2001:db8:1:2:aaaa::1", 80), "2001:db8:1:2::"),
        (("2001:db8:1:2:bbbb::2", 80), "2001:db8:1:2::"),
        (("2001:db8:1:3:bbbb::2", 80), "2001:db8:1:3::"),
        (("fe80::1%eth0", 80), "fe80::"),
        (("a socket", 0), ""),
        (None, ""),
    ],
)
def test_an_address_is_counted_by_what_one_household_has(client: tuple[str, int] | None, counted: str) -> None:
    assert address_of(client) == counted
