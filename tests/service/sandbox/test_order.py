from __future__ import annotations

import pytest

from service.sandbox.order import is_link, is_text, is_whole, strangers


def test_strangers_are_named_by_pointer() -> None:
    assert strangers({"a": 1, "b": 2}, {"a"}, "/x") == ["/x/b"]


@pytest.mark.parametrize("value", ["https://", "ftp://a.example.org", "a.example.org", None, ["https://a.example.org"]])
def test_link_is_http_or_https_with_something_behind_it(value: object) -> None:
    assert is_link("http://a.example.org") and not is_link(value)


def test_text_is_counted_in_characters_and_not_blank() -> None:
    holds = is_text(3)
    assert [holds(value) for value in ("äöü", "äöü!", " ", "", None)] == [True, False, False, False, False]


def test_whole_number_is_neither_a_truth_nor_a_fraction_nor_text() -> None:
    holds = is_whole(1, 3)
    assert [holds(value) for value in (1, 3, 0, 4, True, 2.0, "2")] == [True, True, False, False, False, False, False]
