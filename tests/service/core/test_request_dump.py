"""A request is read however it was written down."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.request_dump import BadDump, read_header, read_request

HEAD = b"POST /hook HTTP/1.1\r\nHost: app.test\r\nwebhook-id:  evt_1 \r\n"


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_headers_and_body_are_told_apart_whatever_ends_the_lines(end: bytes) -> None:
    found = read_request(HEAD.replace(b"\r\n", end) + end + b'{"a":\r\n\r\n1}')
    assert found.headers == [("Host", "app.test"), ("webhook-id", "evt_1")]
    assert (found.body, found.notes) == (b'{"a":\r\n\r\n1}', ())


def test_headers_alone_are_a_request_with_an_empty_body() -> None:
    assert read_request(b"webhook-id: evt_1").body == b""


def test_what_an_editor_added_behind_the_body_is_left_out_by_its_length() -> None:
    found = read_request(HEAD + b"Content-Length: 2\r\n\r\n{}\n")
    assert found.body == b"{}" and "1 bytes more" in found.notes[0]
    short = read_request(HEAD + b"Content-Length: 9\r\n\r\n{}")
    assert short.body == b"{}" and "there are 2" in short.notes[0]


def test_chunks_are_put_together_and_a_body_that_has_none_is_left_alone() -> None:
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    assert read_request(chunked + b'4\r\n{"a"\r\n3;x=y\r\n:1}\r\n0\r\n\r\n').body == b'{"a":1}'
    assert read_request(chunked + b'{"a":1}').body == b'{"a":1}'
    assert read_request(chunked + b"4\r\nab").body == b"4\r\nab"  # cut off: nothing is guessed


@pytest.mark.parametrize("raw", [b"", b"\r\n\r\n{}", b"hello there", b"POST / HTTP/1.1\r\n\r\n{}", b"a" * 70_000])
def test_what_is_no_request_is_refused_with_what_one_looks_like(raw: bytes) -> None:
    with pytest.raises(BadDump, match=r"webhook-id: evt_|64 KiB"):
        read_request(raw)


@given(st.binary(max_size=300))
def test_reading_raises_nothing_else(raw: bytes) -> None:
    for text in (raw, b"a: b\n\n" + raw, b"transfer-encoding: chunked\n\n" + raw):
        with suppress(BadDump):
            read_request(text)


def test_a_header_is_a_name_a_colon_and_a_value() -> None:
    assert read_header("Webhook-Id: evt: 1\t") == ("Webhook-Id", "evt: 1")
    with pytest.raises(BadDump):
        read_header("no colon")
