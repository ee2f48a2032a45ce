"""A client's JSON: strict, bounded, and refused with words that help."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.core.json_text import MAX_DEPTH, MAX_NODES, Malformed, excess, load_json

fuzz = settings(max_examples=200, deadline=None, database=None)


@pytest.mark.parametrize(
    "raw, words",
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ('{"a":1}'.encode("utf-16"), "UTF-8"),
        ('{"a":1}'.encode("utf-16-le"), "not JSON"),
        (b'{"a":"\xff"}', "byte 6"),
        (b'{"a":"\xed\xa0\x80"}', "UTF-8"),
        (b"{", "line 1, column 2"),
        (b"{'a':1}", "not JSON"),
        (b'{"a":1,}', "not JSON"),
        (b'{"a":"\n"}', "control character"),
        (b"NaN", "NaN"),
        (b'{"a":-Infinity}', "Infinity"),
        (b"1e999", "too large"),
        (b"9007199254740993", "2^53"),
        (b"-9007199254740993", "2^53"),
        (b"1" * 10_000, "2^53"),
        (b'{"a":1,"a":1}', '"a" appears twice'),
        (b'[{"\\u0061":1,"a":2}]', "twice"),
        (b"[" * 33 + b"]" * 33, "deeper than 32"),
        (b'{"a":' * 100_000, "deeper than 32"),
        (b"[" + b"0," * MAX_NODES + b"0]", "more than 10000 values"),
        (b'""' * 60_000, "not JSON"),
    ],
)
def test_what_is_not_plain_bounded_json_is_refused_with_its_reason(raw: bytes, words: str) -> None:
    with pytest.raises(Malformed) as told:
        load_json(raw)
    assert words in told.value.detail
    assert len(told.value.detail) < 300 and told.value.detail.encode()


@pytest.mark.parametrize(
    "value", [9007199254740992, -9007199254740992, 0.5, "[[[[" * 50, '\\"' * 99, [[]], {"a": [1, None, True]}]
)
def test_plain_json_comes_back_as_it_was(value: object) -> None:
    assert load_json(json.dumps(value).encode()) == value


def test_the_bounds_themselves_are_allowed() -> None:
    assert load_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH) is not None
    assert load_json(json.dumps([0] * (MAX_NODES - 2)).encode()) is not None


@fuzz
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_whatever_json_writes_is_read_back(value: object) -> None:
    assert load_json(json.dumps(value).encode()) == value


@fuzz
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_malformed(raw: bytes) -> None:
    try:
        load_json(raw)
    except Malformed as told:
        assert told.detail.encode()


def test_measuring_takes_linear_time_on_escapes_without_an_end() -> None:
    text = '"' + '\\"' * 500_000
    started = time.process_time()
    assert excess(text) is None
    assert time.process_time() - started < 1.0  # a backtracking pattern takes hours
