"""The lenient reader of provider bodies: exact, bounded, and only ever BadReply."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.providers.base import BadReply, parse_reply

fuzz = settings(max_examples=200, deadline=None, database=None)


@pytest.mark.parametrize(
    "body, value",
    [
        (b"901930004609634393", "901930004609634393"),
        (b"-901930004609634393", "-901930004609634393"),
        (b"9007199254740992", 9007199254740992),
        (b"9007199254740993", "9007199254740993"),
        (b"1" * 6000, "1" * 6000),
        (b"5.60", Decimal("5.60")),
        (b"1e999999999", "1e999999999"),
        (b"1e99999999999999999999999", "1e99999999999999999999999"),
        (b"NaN", None),
        (b"-Infinity", None),
        (b'\xef\xbb\xbf{"a":1}', {"a": 1}),
        (b'"a\xffb"', "a\ufffdb"),
        (b'"a\nb"', "a\nb"),
        (b'{"a":1,"a":1}', {"a": 1}),
    ],
)
def test_odd_but_readable_bodies_keep_what_they_say(body: bytes, value: object) -> None:
    assert parse_reply(body) == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"<html>",
        b"{",
        b'{"a":1}x',
        b'{"a":1,"a":2}',
        b"\xff\xfe{\x00}\x00",
        b"[" * 100_000,
        b"[" * 33 + b"]" * 33,
        b"[" + b"1," * 10_001,
    ],
)
def test_unreadable_bodies_are_bad_replies(body: bytes) -> None:
    with pytest.raises(BadReply):
        parse_reply(body)


@fuzz
@given(
    st.binary(max_size=300)
    | st.text(alphabet='{}[]",:\\0123456789.eE+-truefalsn \ud800', max_size=60).map(
        lambda text: text.encode("utf-8", "replace")
    )
)
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with suppress(BadReply):
        parse_reply(body)
