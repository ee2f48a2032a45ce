"""A form with one file, as another's parser reads it."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import HTTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.net.form import form
from service.providers.base import File


@given(st.binary(max_size=500))
def test_every_byte_of_the_file_arrives(content: bytes) -> None:
    type, body = form(File(name="file", filename="image.png", type="image/png", content=content))
    assert body.count(content) >= 1 and type.startswith("multipart/form-data; boundary=")
    boundary = type.partition("boundary=")[2].encode()
    head, _, rest = body.partition(b"\r\n\r\n")
    assert head.startswith(b"--" + boundary) and rest == content + b"\r\n--" + boundary + b"--\r\n"


def test_an_independent_parser_finds_the_one_part() -> None:
    type, body = form(File(name="file", filename="image.png", type="image/png", content=b"\x89PNG"))
    [part] = message_from_bytes(b"Content-Type: " + type.encode() + b"\r\n\r\n" + body, policy=HTTP).iter_parts()
    assert (part.get_param("name", header="content-disposition"), part.get_filename()) == ("file", "image.png")
    assert (part.get_content_type(), part.get_payload(decode=True)) == ("image/png", b"\x89PNG")


@pytest.mark.parametrize("word", ['a"b', "a\r\nX-Evil: 1", "", "ü"])
def test_a_name_that_would_need_quoting_is_never_written(word: str) -> None:
    with pytest.raises(ValueError, match="cannot carry"):
        form(File(name="file", filename=word, type="image/png", content=b""))


def test_a_file_is_not_shown_in_a_repr() -> None:
    assert "secret" not in repr(File(name="file", filename="a.png", type="image/png", content=b"secret"))
