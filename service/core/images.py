"""Tells what an image is by its bytes, and refuses what is more than one: names and media types are a stranger's word.

An image that passes begins as one, is one from end to end, and carries no markup beside its pixels. What it depicts, and
whether its pixels can be decoded, is for the provider to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MOST_PIXELS: Final = 100_000_000
MOST_SIDE: Final = 32_768

# Only looked for outside the pixels: in compressed bytes four letters come together by chance.
MARKUP: Final = re.compile(
    rb"<(?:!doctype|html|head|body|script|svg|iframe|object|embed|\?php|\?xml[^>]*svg)|%PDF-", re.IGNORECASE
)

PNG: Final = b"\x89PNG\r\n\x1a\n"
# A marker in a JPEG's compressed part: FF, and neither stuffing (00), nor a restart (D0 to D7), nor fill (FF).
_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_SIZES: Final = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


class NotAnImage(ValueError):
    """The bytes are not one JPEG, PNG or WebP image and nothing else; the text says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What the bytes are. `type`: the media type; `suffix`: the ending of a name for it."""

    type: str
    suffix: str
    width: int
    height: int


def examine(content: bytes) -> Image:
    """The image these bytes are. Raises `NotAnImage`, and nothing else."""
    if content.startswith(b"\xff\xd8\xff"):
        kind, suffix, read = "image/jpeg", "jpg", _jpeg
    elif content.startswith(PNG):
        kind, suffix, read = "image/png", "png", _png
    elif content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        kind, suffix, read = "image/webp", "webp", _webp
    else:
        raise NotAnImage("This is no JPEG, PNG or WebP image, whatever its name says. Convert it to one of them.")
    try:
        width, height = read(content)
    except IndexError:
        raise _broken() from None
    if not (1 <= width <= MOST_SIDE and 1 <= height <= MOST_SIDE and width * height <= MOST_PIXELS):
        raise NotAnImage(
            f"The image is {width} by {height} pixels; at most {MOST_PIXELS // 1_000_000} million pixels are taken."
        )
    return Image(type=kind, suffix=suffix, width=width, height=height)


def _png(content: bytes) -> tuple[int, int]:
    """Chunk by chunk: length, name, contents, checksum; from IHDR to IEND and not a byte further."""
    size: tuple[int, int] | None = None
    at = len(PNG)
    while True:
        length, name = _number(content, at, 4), content[at + 4 : at + 8]
        end = at + 12 + length
        if end > len(content) or (size is None and name != b"IHDR"):
            raise _broken()
        if name == b"IHDR":
            size = _number(content, at + 8, 4), _number(content, at + 12, 4)
        elif name == b"IEND":
            return _whole(content, end, size)
        elif name != b"IDAT":
            _refuse_markup(content[at + 8 : end])
        at = end


def _webp(content: bytes) -> tuple[int, int]:
    end = 8 + int.from_bytes(content[4:8], "little")
    size: tuple[int, int] | None = None
    at = 12
    while at + 8 <= min(end, len(content)):
        name, length = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        body = at + 8
        at = body + length + (length & 1)
        if body + length > len(content):
            raise _broken()
        if name in (b"VP8 ", b"VP8L", b"VP8X"):
            size = size or _webp_size(name, content[body : body + 10])
        elif name not in (b"ALPH", b"ANMF"):
            _refuse_markup(content[body : body + length])
    return _whole(content, end, size)


def _webp_size(name: bytes, head: bytes) -> tuple[int, int]:
    if name == b"VP8X":
        return 1 + int.from_bytes(head[4:7], "little"), 1 + int.from_bytes(head[7:10], "little")
    if name == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(head[6:8], "little") & 0x3FFF, int.from_bytes(head[8:10], "little") & 0x3FFF


def _jpeg(content: bytes) -> tuple[int, int]:
    """Segment by segment; the compressed part after SOS ends where the next marker stands."""
    size: tuple[int, int] | None = None
    for marker, start, end in _segments(content):
        if marker == 0xD9:
            return _whole(content, end, size)
        if marker in _SIZES:
            size = size or (_number(content, start + 3, 2), _number(content, start + 1, 2))
        elif marker >= 0xE0:  # APPn and COM
            _refuse_markup(content[start:end])
    raise _broken()


def _segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Each marker of a JPEG, with where what it holds begins and ends."""
    at = 2
    while True:
        if content[at] != 0xFF:
            raise _broken()
        marker = content[at + 1]
        if marker == 0xFF:  # fill
            at += 1
            continue
        if marker == 0xD9:
            yield marker, at + 2, at + 2
            return
        start, end = at + 4, at + 2 + _number(content, at + 2, 2)
        if end < start or end > len(content):
            raise _broken()
        yield marker, start, end
        at = end
        if marker == 0xDA:
            following = _MARKER.search(content, end)
            if following is None:
                raise _broken()
            at = following.start()


def _whole(content: bytes, end: int, size: tuple[int, int] | None) -> tuple[int, int]:
    """The size, if the image has one and ends where the bytes end."""
    if size is None or end > len(content):
        raise _broken()
    if end < len(content):
        raise NotAnImage(
            f"{len(content) - end} bytes follow the end of the image, which may be another file. Save the image anew."
        )
    return size


def _number(content: bytes, at: int, length: int) -> int:
    if at + length > len(content):
        raise _broken()
    return int.from_bytes(content[at : at + length], "big")


def _refuse_markup(content: bytes) -> None:
    if MARKUP.search(content):
        raise NotAnImage("Beside its pixels the image carries a web page or a script. Save it anew without metadata.")


def _broken() -> NotAnImage:
    return NotAnImage("The image is cut off or damaged. Save it anew and send the whole file.")
