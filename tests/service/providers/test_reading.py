"""The parts adapters read with."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.providers import reading
from service.providers.base import Reply
from storage.records import FailureCode
from tests.depth import examples

fuzz = settings(max_examples=150, deadline=None, database=None)
anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.none()) | st.decimals()


@pytest.mark.parametrize(
    "link",
    [
        "https://cdn.example.org/v/abc.mp4?x=1&y=[2]#t=1",
        "https://cdn.example.org:8443/v.mp4",
        "http://127.0.0.1:8080/v.mp4",
        "http://[::1]:8080/v.mp4",
        "http://localhost:8080/v.mp4",
    ],
)
def test_usable_links_are_taken_as_they_are(link: str) -> None:
    assert reading.output_url(link) == reading.output_url(link, spotless=True) == link


@pytest.mark.parametrize(
    "link",
    [
        "http://cdn.example.org/v.mp4",
        "ftp://cdn.example.org/v.mp4",
        "javascript:alert(1)",
        "data:video/mp4;base64,AA",
        "//cdn.example.org/v.mp4",
        "https:///v.mp4",
        "ftp://localhost/v.mp4",
        "https://relay.example.org/callbacks/cloudsway/TOKENTOKEN",
        "https://user@cdn.example.org/",
        "https://user:pass@cdn.example.org/",
        "http://127.0.0.1@evil.example.org/",
        "http://localhost.evil.example.org/",
        "https://10.0.0.1/v.mp4",
        "https://169.254.169.254/latest",
        "https://0x7f.0.0.1/",
        "https://2130706433/",
        "https://127.1/",
        "https://[fd00::1]/",
        "https://intranet/",
        "https://localhost./",
        "https://cdn.example.org:99999/",
        "https://cdn.example.org/a b",
        "https://cdn.example.org/\r\nSet-Cookie: a",
        "https://cdn.example.org\\@evil.example.org/",
        "https://[",
        "https://例え.example/",
        "https://cdn.example.org/" + "a" * 2048,
        "https://cdn.example.org/" + "é" * 700,
        "",
        None,
        7,
        ["https://cdn.example.org/"],
    ],
)
def test_unusable_links_are_no_links(link: object) -> None:
    assert reading.output_url(link) is None
    if not (isinstance(link, str) and reading.redact(link.encode(errors="replace")) != link.encode(errors="replace")):
        assert reading.output_url(link, spotless=True) is None


def test_a_links_letters_outside_ascii_are_encoded_for_the_location_header() -> None:
    assert reading.output_url("https://cdn.example.org/é%20?q=ü") == "https://cdn.example.org/%C3%A9%20?q=%C3%BC"


letters = st.sampled_from(
    ["https://", "http://", "a.example", ".", ":", "/", "?", "#", "@", "-", "_", "%", "1", "0x7f"]
)
near_links = st.lists(letters | st.characters(codec="utf-8"), max_size=12).map("".join) | st.builds(
    lambda host, rest: f"https://{host}{rest}", st.lists(letters, max_size=5).map("".join), st.text(max_size=5)
)


@settings(max_examples=examples(1000))
@given(near_links)
def test_the_short_way_for_texts_without_secrets_says_what_the_long_one_says(words: str) -> None:
    if reading.redact(words.encode("utf-8", errors="surrogatepass")) == words.encode("utf-8", errors="surrogatepass"):
        for ask in (reading.output_url, reading.text, reading.identifier):
            assert ask(words, spotless=True) == ask(words)


@pytest.mark.parametrize(
    "raw",
    [b'{"a":"sk-123456789012"}', b'{"a":"/Callbacks/x/v1.token"}', rb'{"a":"sk\u002d123456789012"}', rb'{"a":"\/"}'],
)
def test_a_message_is_not_spotless_with_a_secret_or_an_escape_that_could_spell_one(raw: bytes) -> None:
    assert reading.spotless(b'{"a":"https://a.example/skip"}')
    assert not reading.spotless(raw)


@pytest.mark.parametrize(
    "value, text",
    [("901930004609634393", "901930004609634393"), (17, "17"), ("a b", "a b")],
)
def test_ids_become_exact_text(value: object, text: str) -> None:
    assert reading.identifier(value) == text


@pytest.mark.parametrize(
    "value", [None, True, 0, -5, 1.0, Decimal("9.1e17"), "", " ", "a\x00", "a\nb", "\ud800", "x" * 129, []]
)
def test_what_is_no_id_is_none(value: object) -> None:
    assert reading.identifier(value) is None


@pytest.mark.parametrize("value, exact", [("5.60", "5.6"), (5, "5"), (Decimal("0.10"), "0.1"), ("0", "0")])
def test_amounts_are_exact(value: object, exact: str) -> None:
    assert reading.plain_amount(value) == exact


@pytest.mark.parametrize(
    "value", [True, -1, "-1", "1e5", "NaN", "", None, 0.1, "1" * 16, Decimal("NaN"), Decimal("1e30")]
)
def test_what_is_no_plain_amount_is_none(value: object) -> None:
    assert reading.plain_amount(value) is None


@fuzz
@given(anything)
def test_every_part_is_total(value: object) -> None:
    for part in (
        reading.identifier,
        reading.plain_amount,
        reading.output_url,
        reading.word,
        reading.text,
        reading.percent,
    ):
        found = part(value)
        assert found is None or str(found).encode()


def test_words_for_people_are_storable_bounded_and_free_of_secrets() -> None:
    assert reading.text("a\x00b\ud800c\n") == "a\ufffdb\ufffdc"
    assert reading.text("x" * 900) == "x" * 500
    assert reading.text(" \n ") is None
    long = "x" * 480 + " https://a.example/callbacks/cloudsway/TOKENTOKENTOKEN"
    assert "TOKEN" not in str(reading.text(long))


def test_evidence_is_redacted_before_it_is_cut() -> None:
    url = b"https://a.example/callbacks/acedata/SECRETSECRET"
    for room in range(len(url)):
        kept = reading.keep(b"x" * (reading.MAX_RAW - room) + url)
        assert len(kept) <= reading.MAX_RAW and b"SECRET" not in kept


def test_plain_talk_of_bearers_is_left_alone() -> None:
    assert reading.text("The bearer token is invalid") == "The bearer token is invalid"


@pytest.mark.parametrize(
    "header, seconds",
    [
        ("7", 7.0),
        (" 0.5 ", 0.5),
        ("999999", 86_400.0),
        ("-1", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("", None),
        ("٣", None),
    ],
)
def test_retry_after_is_read_in_seconds_and_bounded(header: str, seconds: float | None) -> None:
    assert reading.retry_after(Reply(status=429, headers={"retry-after": header})) == seconds


@pytest.mark.parametrize(
    "date, seconds",
    [
        ("Wed, 21 Oct 2026 07:27:00 GMT", 60.0),
        ("Mon, 19 Oct 2026 07:28:00 GMT", 86_400.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("Wed, 21 Oct 2026 08:00:00 GMT", None),
        ("yesterday", None),
    ],
)
def test_a_date_to_come_back_at_is_read_by_the_providers_own_clock(date: str, seconds: float | None) -> None:
    headers = {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "date": date}
    assert reading.retry_after(Reply(status=503, headers=headers)) == seconds


def test_a_reason_that_names_content_is_no_reason_to_try_again() -> None:
    content = reading.failed("x", "Failure to pass the risk control system")
    other = reading.failed("x", "upstream timeout")
    assert (content.code, content.retryable) == (FailureCode.CONTENT_REJECTED, False)
    assert (other.code, other.retryable) == (FailureCode.PROVIDER_ERROR, True)
    assert reading.failed("x", None).provider_message is None
