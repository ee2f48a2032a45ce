"""An image is what its bytes are, from end to end, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.images import MOST_SIDE, Image, NotAnImage, examine
from tests.service.core.pictures import chunk, jpeg, png, riff, segment, webp, webp_extended, webp_lossless

GOOD = {"png": png(), "jpeg": jpeg(), "webp": webp()}


@pytest.mark.parametrize(
    ("content", "type", "suffix"),
    [
        (png(640, 480), "image/png", "png"),
        (jpeg(640, 480), "image/jpeg", "jpg"),
        (webp(640, 480), "image/webp", "webp"),
        (webp_lossless(640, 480), "image/webp", "webp"),
        (webp_extended(640, 480), "image/webp", "webp"),
    ],
)
def test_the_kind_and_the_size_are_read_from_the_bytes(content: bytes, type: str, suffix: str) -> None:
    assert examine(content) == Image(type=type, suffix=suffix, width=640, height=480)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b'<?xml version="1.0"?><svg/>',
        b"<!doctype html><script>1</script>",
        b"GIF89a" + b"\0" * 40,
        b"%PDF-1.7",
        b"PK\x03\x04",
        b"BM" + b"\0" * 60,
        b"\0\0\0 ftypavif",
        b" " + png(),
    ],
)
def test_what_is_none_of_the_three_is_refused_whatever_it_is_called(content: bytes) -> None:
    with pytest.raises(NotAnImage, match="no JPEG, PNG or WebP"):
        examine(content)


@pytest.mark.parametrize("kind", GOOD)
@pytest.mark.parametrize("tail", [b"\0", b"<script>alert(1)</script>", b"PK\x03\x04zip", b"<html>"])
def test_a_second_file_behind_the_image_is_refused(kind: str, tail: bytes) -> None:
    with pytest.raises(NotAnImage, match=r"follow the end|damaged"):
        examine(GOOD[kind] + tail)


@pytest.mark.parametrize(
    "words", [b"<SVG onload=x>", b"<!DOCTYPE html>", b"x<script src=//e>", b"<?php 1", b"%PDF-1.4", b"<iframe/"]
)
def test_a_page_hidden_beside_the_pixels_is_refused(words: bytes) -> None:
    for content in (
        png(2, 3, chunk(b"tEXt", b"Comment\0" + words)),
        jpeg(2, 3, segment(0xFE, words)),
        jpeg(2, 3, segment(0xE1, b"Exif\0\0" + words)),
        webp(2, 3, (b"XMP ", words)),
    ):
        with pytest.raises(NotAnImage, match="web page or a script"):
            examine(content)


def test_ordinary_metadata_is_let_through() -> None:
    xmp = b'<?xpacket begin="" id="W5M0"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF/></x:xmpmeta>'
    assert examine(png(2, 3, chunk(b"iTXt", xmp))).width == 2
    assert examine(jpeg(2, 3, segment(0xE0, b"JFIF\0"), segment(0xE1, xmp))).height == 3
    assert examine(webp(2, 3, (b"XMP ", xmp), (b"ICCP", b"\0" * 5))).width == 2


def test_markup_among_the_pixels_is_chance_and_let_through() -> None:
    assert examine(jpeg(pixels=b"<svg <html \xff\x00")).width == 2


@pytest.mark.parametrize("kind", GOOD)
def test_an_image_cut_anywhere_is_refused(kind: str) -> None:
    whole = GOOD[kind]
    for length in range(len(whole)):
        with pytest.raises(NotAnImage):
            examine(whole[:length])


@pytest.mark.parametrize(
    "content",
    [
        png(0, 1),
        png(MOST_SIDE + 1, 1),
        png(20_000, 20_000),
        jpeg(0, 5),
        riff((b"EXIF", b"x")),
        png()[:8] + chunk(b"IEND", b""),
    ],
)
def test_an_image_without_a_sensible_size_is_refused(content: bytes) -> None:
    with pytest.raises(NotAnImage):
        examine(content)


def test_progressive_scans_and_fill_bytes_are_read() -> None:
    scan = b"\xff" + segment(0xDA, b"\x01\x01\x00") + b"\x01\x02"
    assert examine(jpeg(9, 8, pixels=b"\x01" + scan)).width == 9


@given(st.sampled_from(sorted(GOOD)), st.binary(max_size=200), st.integers(0, 60))
def test_no_bytes_raise_anything_else(kind: str, noise: bytes, at: int) -> None:
    for content in (noise, GOOD[kind][:at] + noise, GOOD[kind][:at] + noise + GOOD[kind][at:]):
        try:
            examine(content)
        except NotAnImage as refused:
            assert str(refused).endswith(".")
