"""Ids sort by time, cannot collide by accident and never contain a separator."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core import ids

INSTANTS = st.integers(0, ids.MAX_MILLISECONDS * 1000 + 999)
ENTROPY = st.binary(min_size=10, max_size=10)


def read(id: str) -> int:
    """The 130 bits an id spells, by the plain definition of base 32."""
    number = 0
    for digit in id.rpartition("_")[2]:
        number = number * 32 + ids.DIGITS.index(digit)
    return number


def test_an_id_spells_its_milliseconds_and_its_entropy() -> None:
    id = ids.mint("task", 1_469_918_176_385_999, bytes(range(10)))
    assert id.startswith("task_01ARYZ6S41")  # the ULID specification's own instant
    assert read(id) == 1_469_918_176_385 << 80 | int.from_bytes(bytes(range(10)), "big")


@given(INSTANTS, ENTROPY)
def test_nothing_of_instant_or_entropy_is_lost(now: int, entropy: bytes) -> None:
    id = ids.mint("sub", now, entropy)
    assert len(id) == len("sub_") + 26
    assert read(id) == now // 1000 << 80 | int.from_bytes(entropy, "big")


@given(INSTANTS, INSTANTS, ENTROPY, ENTROPY)
def test_ids_of_different_milliseconds_sort_by_time(one: int, other: int, first: bytes, second: bytes) -> None:
    if one // 1000 < other // 1000:
        assert ids.mint("evt", one, first) < ids.mint("evt", other, second)


@given(st.binary(min_size=16, max_size=16))
def test_a_digest_is_spelled_whole(digest: bytes) -> None:
    id = ids.from_digest("evt", digest)
    assert len(id) == len("evt_") + 26
    assert read(id) == int.from_bytes(digest, "big")
    assert "." not in id


@pytest.mark.parametrize("size", [0, 9, 11, 16])
def test_too_little_or_too_much_entropy_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"10 random bytes, not {size}"):
        ids.mint("task", 0, bytes(size))


@pytest.mark.parametrize("now", [-1, (ids.MAX_MILLISECONDS + 1) * 1000])
def test_an_instant_that_48_bits_cannot_hold_is_refused(now: int) -> None:
    with pytest.raises(ValueError, match="between 1970 and 10889"):
        ids.mint("task", now, bytes(10))


def test_a_digest_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes of digest, not 32"):
        ids.from_digest("evt", bytes(32))


def test_prefixes_are_distinct_and_free_of_separators() -> None:
    prefixes = [value for name, value in vars(ids).items() if name.isupper() and isinstance(value, str)]
    prefixes.remove(ids.DIGITS)
    assert len(prefixes) == len(set(prefixes)) == 13
    assert all(prefix.isalpha() and prefix.islower() for prefix in prefixes)


def test_an_id_beside_another_shares_its_moment_and_nothing_else() -> None:
    task = ids.mint("task", 1_790_000_000_000_000, bytes(10))
    one, two = ids.beside("evt", task, b"0123456789"), ids.beside("evt", task, b"abcdefghij")
    assert one[4:14] == two[4:14] == task[5:15]
    assert one[14:] != two[14:]
    assert len(one) == len("evt_") + 26
    assert one == ids.beside("evt", task, b"0123456789")


def test_an_id_beside_another_needs_ten_bytes() -> None:
    with pytest.raises(ValueError, match="10 bytes"):
        ids.beside("evt", "task_1", bytes(9))


def test_a_floor_sorts_before_what_was_minted_from_then_on_and_behind_the_rest() -> None:
    at = 1_795_209_000_123_456
    floor = ids.floor(ids.DELIVERY, at)
    assert floor <= ids.mint(ids.DELIVERY, at, bytes(10))
    assert floor > ids.mint(ids.DELIVERY, at - 1000, b"\xff" * 10)
    assert ids.floor(ids.DELIVERY, -1) == ids.floor(ids.DELIVERY, 0) == "dlv_0000000000"
    assert ids.floor(ids.DELIVERY, 2**80) > floor


def test_a_submission_is_named_by_its_task_and_leads_back_to_it() -> None:
    task = ids.mint("task", 1_790_000_000_000_000, bytes(10))
    named = ids.of_submission(task, 12)
    assert named == f"sub_{task.removeprefix('task_')}-12"
    assert ids.task_of(named) == task
    for other in ("sub_01M", "sub_-1", "sub_01M-", "sub_01M-x", "", "task_01M"):
        assert ids.task_of(other) is None
