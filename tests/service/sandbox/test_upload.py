from __future__ import annotations

import random

import httpx
import pytest

from service.sandbox.order import Refused
from service.sandbox.upload import picture_kind, read_file

JPEG, PNG, WEBP = b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"RIFF\x00\x00\x00\x00WEBP"


def form(content: bytes, name: str = "file") -> tuple[str, bytes]:
    request = httpx.Request("POST", "http://sandbox", files={name: ("a.png", content, "image/png")})
    return request.headers["content-type"], request.read()


@pytest.mark.parametrize("magic", [JPEG, PNG, WEBP])
def test_file_comes_out_as_it_went_in_and_not_one_byte_longer_than_allowed(magic: bytes) -> None:
    # Every pair of line-end bytes occurs: a form parser that mends line ends would change the size.
    exact = magic + b"\r\n\n\r\r\n\r" + random.Random(7).randbytes(4_096)
    assert read_file(*form(exact), most=len(exact)) == exact
    with pytest.raises(Refused, match="over"):
        read_file(*form(exact + b"\n"), most=len(exact))


def test_kind_of_picture_is_told_by_its_first_bytes_whatever_it_is_called() -> None:
    kinds = [picture_kind(magic + bytes(64)) for magic in (JPEG, PNG, WEBP, b"GIF89a", b"")]
    assert kinds == ["jpg", "png", "webp", None, None]


def test_upload_wants_a_form_with_a_field_named_file() -> None:
    with pytest.raises(Refused, match="named file"):
        read_file(*form(PNG, name="image"), most=1_000)
    with pytest.raises(Refused, match="multipart"):
        read_file("image/png", PNG, most=1_000)
