from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.plain_text import unusable, usable


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a\x00b", ("a control character (U+0000)", 1)),
        ("\x1b[31m", ("a control character (U+001B)", 0)),
        ("\x7f", ("a control character (U+007F)", 0)),
        ("\x85", ("a control character (U+0085)", 0)),
        ("ab\ud800", ("half a surrogate pair (U+D800)", 2)),
        ("user\u202etxt.exe", ("a character that turns text around (U+202E)", 4)),
        ("\u2066x\u2069", ("a character that turns text around (U+2066)", 0)),
    ],
)
def test_what_cannot_be_kept_is_named_with_its_place(text: str, found: tuple[str, int]) -> None:
    assert unusable(text) == found
    assert usable(text).count("\ufffd") >= 1 and unusable(usable(text)) is None


@pytest.mark.parametrize(
    "text",
    ["a\tb\r\nc", "שלום\u200f!", "سلام\u061c", "👨‍👩‍👧‍👦", "e\u0301", "\ufeff", "\ufffd", "\u2028", "\U0010ffff", ""],
)
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert unusable(text) is None and usable(text) == text


@given(st.text(st.characters()))
def test_what_is_made_usable_is_as_long_is_usable_and_keeps_the_rest(text: str) -> None:
    clean = usable(text)
    assert unusable(clean) is None and len(clean) == len(text)
    clean.encode("utf-8")
    for was, now in zip(text, clean, strict=True):
        assert was == now or unicodedata.category(was) in ("Cc", "Cs", "Cf")
    assert (unusable(text) is None) is (clean == text)
