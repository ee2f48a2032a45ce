"""How a request says that it may be a repeat, read off its headers."""

from __future__ import annotations

import pytest

from service.api.idempotency import fingerprint, key_of, retry_of
from service.api.problems import Problem


def stated(*values: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x"), *((b"idempotency-key", value) for value in values)]


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (b'"8e03978e-40d5"', "8e03978e-40d5"),
        (b"8e03978e-40d5", "8e03978e-40d5"),
        (b'  "a"  ', "a"),
        (b'"a b, c; d"', "a b, c; d"),
        (rb'"a\"b\\c"', 'a"b\\c'),
        (b"x" * 255, "x" * 255),
        (b"a;b=c/d:e", "a;b=c/d:e"),
    ],
)
def test_a_key_is_read_quoted_or_bare(value: bytes, key: str) -> None:
    assert key_of(stated(value)) == key


@pytest.mark.parametrize(
    "value",
    [b"", b'""', b'"a', b'a"', b'"a"b', b"a b", b"a,b", b"\xc3\xa4", b'"\xc3\xa4"', b'"\\a"', b'"a\x7f"', b"x" * 256],
)
def test_what_is_no_key_is_refused(value: bytes) -> None:
    with pytest.raises(Problem, match="order-8841"):
        key_of(stated(value))


def test_without_the_header_there_is_none_and_two_are_too_many() -> None:
    assert key_of(stated()) is None
    with pytest.raises(Problem):
        key_of(stated(b"a", b"a"))


@pytest.mark.parametrize(
    ("headers", "attempt"),
    [
        ([], None),
        ([(b"user-agent", b"curl")], None),
        ([(b"x-stainless-lang", b"python")], 0),
        ([(b"x-stainless-retry-count", b"2")], 2),
        ([(b"x-stainless-retry-count", b"two")], 0),
        ([(b"x-stainless-retry-count", b"1"), (b"x-stainless-retry-count", b"1")], 0),
    ],
)
def test_a_try_is_counted_only_where_the_client_counts(headers: list[tuple[bytes, bytes]], attempt: int | None) -> None:
    assert retry_of(headers) == attempt


def test_a_fingerprint_knows_members_and_not_their_order_and_is_nothing_without_its_key() -> None:
    one = fingerprint({"a": 1, "b": [1, 2]}, b"k" * 32)
    assert one == fingerprint({"b": [1, 2], "a": 1}, b"k" * 32)
    others = [fingerprint({"a": 1, "b": [2, 1]}, b"k" * 32), fingerprint({"a": 1, "b": [1, 2]}, b"j" * 32)]
    assert one not in others
