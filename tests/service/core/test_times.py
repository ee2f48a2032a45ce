"""Instants survive the trip to text and back; nonsense is None, never an exception."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.times import DAY, EPOCH, LAST, iso, parse_http_date, parse_iso

INSTANTS = st.integers(0, LAST)


def test_the_form_is_fixed() -> None:
    assert iso(0) == "1970-01-01T00:00:00.000000Z"
    assert iso(1_795_209_000_123_456) == "2026-11-20T21:10:00.123456Z"
    assert iso(LAST) == "9999-12-31T23:59:59.999999Z"


@given(INSTANTS)
def test_an_instant_comes_back_as_it_went_out(at: int) -> None:
    assert parse_iso(iso(at)) == at


@given(INSTANTS)
def test_the_calendar_agrees(at: int) -> None:
    spelled = (EPOCH + timedelta(microseconds=at)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert iso(at) == spelled


@given(INSTANTS, INSTANTS)
def test_texts_sort_like_instants(one: int, other: int) -> None:
    assert (iso(one) < iso(other)) == (one < other)


@pytest.mark.parametrize(("at", "shown"), [(-1, "1970-01-01"), (LAST + 1, "9999-12-31"), (10**40, "9999-12-31")])
def test_what_the_calendar_lacks_is_shown_as_its_edge(at: int, shown: str) -> None:
    assert iso(at).startswith(shown)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20T21:10:00Z", "2026-11-20T21:10:00.000000Z"),
        ("2026-11-20t21:10:00z", "2026-11-20T21:10:00.000000Z"),
        ("2026-11-20T21:10:00.5Z", "2026-11-20T21:10:00.500000Z"),
        ("2026-11-20T21:10:00.123456789Z", "2026-11-20T21:10:00.123456Z"),
        ("2026-11-20T23:10:00+02:00", "2026-11-20T21:10:00.000000Z"),
        ("2026-11-20T15:40:00-05:30", "2026-11-20T21:10:00.000000Z"),
    ],
)
def test_rfc_3339_is_read(text: str, expected: str) -> None:
    at = parse_iso(text)
    assert at is not None
    assert iso(at) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-11-20",
        "2026-11-20T21:10:00",
        "2026-11-20 21:10:00Z",
        "2026-02-30T00:00:00Z",
        "2026-11-20T24:00:00Z",
        "2026-11-20T21:10:60Z",
        "2026-11-20T21:10:00+24:00",
        "2026-11-20T21:10:00+01:60",
        "2026-11-20T21:10:00.Z",
        "٢٠٢٦-11-20T21:10:00Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "2026-11-20T21:10:00Z\n",
    ],
)
def test_what_is_no_instant_is_none(text: str) -> None:
    assert parse_iso(text) is None


@given(st.text(max_size=40))
def test_any_text_is_an_instant_or_none(text: str) -> None:
    for at in (parse_iso(text), parse_http_date(text)):
        assert at is None or 0 <= at <= LAST


@pytest.mark.parametrize(
    "text",
    ["Sun, 06 Nov 2044 08:49:37 GMT", "Sunday, 06-Nov-44 08:49:37 GMT", "Sun Nov  6 08:49:37 2044"],
)
def test_all_three_http_forms_are_one_instant(text: str) -> None:
    at = parse_http_date(text)
    assert at is not None
    assert iso(at) == "2044-11-06T08:49:37.000000Z"


@given(st.integers(0, 20_000 * DAY // 1_000_000))
def test_http_dates_as_the_standard_library_writes_them(seconds: int) -> None:
    text = format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)
    assert parse_http_date(text) == seconds * 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 2044 08:49:37 +0000",
        "Sun, 06 Nov 2044 08:49:37",
        "Sun, 31 Feb 2044 08:49:37 GMT",
        "Sun, 06 Foo 2044 08:49:37 GMT",
        "Sun, 06 Nov 2044 25:49:37 GMT",
        "Sun, 06 Nov 1944 08:49:37 GMT",
        "2044-11-06T08:49:37Z",
        "",
    ],
)
def test_what_is_no_http_date_is_none(text: str) -> None:
    assert parse_http_date(text) is None
