from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core import filters

SHORT = st.text("ab*", max_size=8)


@given(pattern=SHORT, value=st.text("ab", max_size=10))
def test_a_star_stands_for_any_text(pattern: str, value: str) -> None:
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), value) is not None
    assert filters.matches(pattern, value) is expected


def test_no_pattern_is_slow() -> None:
    pattern, value = "*a" * 250, "a" * 249 + "b" * 100_000
    started = time.process_time()
    assert not filters.matches(pattern, value)
    assert time.process_time() - started < 0.5


CASES = [
    ({"provider": ["cloudsway"]}, True),
    ({"provider": ["ulazai", "cloud*"]}, True),
    ({"provider": ["ulazai"]}, False),
    ({"provider": ["cloudsway"], "model": ["kling-2*"]}, False),
    ({"model": ["kling-*"], "metadata": {"shop": ["eu-*"]}}, True),
    ({"metadata": {"shop": ["us-*", "eu-1"]}}, True),
    ({"metadata": {"shop": ["us-*"]}}, False),
    ({"metadata": {"shop": ["*"], "none": ["*"]}}, False),
]


@pytest.mark.parametrize(("members", "passes"), CASES)
def test_every_member_must_fit_by_one_of_its_patterns(members: dict[str, object], passes: bool) -> None:
    whole = {"provider": [], "model": [], "metadata": {}, **members}
    text = filters.dump(**whole)  # type: ignore[arg-type]
    assert text is not None
    admitted = filters.load(text).admits("cloudsway", "kling-3.0-turbo", '{"shop":"eu-1","order":"7"}')
    assert admitted is passes


def test_a_filter_of_nothing_is_none() -> None:
    assert filters.dump([], [], {}) is None


def test_metadata_is_read_by_those_alone_who_filter_by_it() -> None:
    unreadable = "{"
    assert filters.load('{"model":["*"]}').admits("cloudsway", "m", unreadable)
    with pytest.raises(ValueError, match="unexpected end"):
        filters.load('{"metadata":{"a":["*"]}}').admits("cloudsway", "m", unreadable)


def test_what_is_about_no_provider_fits_no_pattern() -> None:
    assert not filters.load('{"provider":["*"]}').admits(None, None, None)
