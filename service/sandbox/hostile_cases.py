"""What the hostile subscriber answers once it has read a request: one case a path, none of them from any provider."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate

from service.sandbox.hostile_line import Behaviour, Line

METADATA = b"http://169.254.169.254/latest/meta-data/"
MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Case:
    """`does`: for the list that people read."""

    does: str
    behave: Behaviour


def saying(*texts: bytes) -> Behaviour:
    """Answer, then wait until the other side has left."""

    async def behave(line: Line) -> None:
        for text in texts:
            await line.say(text)
        await line.gone()

    return behave


def ending(text: bytes, *, reset: bool = False) -> Behaviour:
    """Answer, then hang up."""

    async def behave(line: Line) -> None:
        await line.say(text)
        if reset:
            await asyncio.sleep(0.05)  # so that what was said arrives before the reset
            line.reset()

    return behave


def flooding(first: bytes, again: bytes, least: int) -> Behaviour:
    async def behave(line: Line) -> None:
        await line.say(first)
        await line.repeat(again, least)
        await line.gone()

    return behave


def dripping(first: bytes, again: bytes) -> Behaviour:
    async def behave(line: Line) -> None:
        await line.say(first)
        await line.drip(again)

    return behave


def late(answer: bytes, seconds: float) -> Behaviour:
    async def behave(line: Line) -> None:
        await asyncio.sleep(seconds)
        await line.say(answer)
        await line.gone()

    return behave


def head(status: int | str, *headers: bytes, length: int | None = 0) -> bytes:
    """Each answer is the last on its connection, so that every case meets a fresh one."""
    lines = [f"HTTP/1.1 {status} X".encode(), b"Connection: close", *headers]
    if length is not None:
        lines.append(b"Content-Length: %d" % length)
    return b"\r\n".join([*lines, b"", b""])


def busy(value: bytes, status: int = 429, *more: bytes) -> Behaviour:
    return saying(head(status, b"Retry-After: " + value, *more))


async def _in_an_hour(line: Line) -> None:
    await busy(formatdate(time.time() + 3600, usegmt=True).encode())(line)


async def _redirect_here(line: Line) -> None:
    status = int(line.target.split("/")[1].removeprefix("redirect-"))
    await line.say(head(status, b"Location: /followed"))
    await line.gone()


async def _bomb(line: Line) -> None:
    packed = gzip.compress(bytes(10 * MB))
    await line.say(head(200, b"Content-Encoding: gzip", length=len(packed)) + packed)
    await line.gone()


OK = head(204, length=None)
CHUNKED = head(200, b"Transfer-Encoding: chunked", length=None)

ANSWERS: Mapping[str, Case] = {
    "ok": Case("204, for comparison", saying(OK)),
    "bye": Case("204, and hangs up", ending(OK)),
    "followed": Case("204; where the redirects lead", saying(OK)),
    "reset": Case("resets before it answers", ending(b"", reset=True)),
    "reset-in-head": Case("resets in the middle of its head", ending(b"HTTP/1.1 200 OK\r\nContent-", reset=True)),
    "reset-in-body": Case("200, then resets in its body", ending(head(200, length=9999) + b"hello", reset=True)),
    "close": Case("hangs up without an answer", ending(b"")),
    "hang": Case("never answers", saying()),
    "hang-in-body": Case("200 and a length, then nothing", saying(head(200, length=10))),
    "drip-head": Case("a byte of its head every 0.2 s", dripping(b"HTTP/1.1 200 OK\r\n", b"X-Drip: 1\r\n")),
    "drip-body": Case("200, then a byte of its body every 0.2 s", dripping(head(200, length=9999), b"x")),
    "drip-error": Case("500, then a byte of its body every 0.2 s", dripping(head(500, length=9999), b"x")),
    "late": Case("204 after 13 s", late(OK, 13.0)),
    "big-body": Case("100 MB of body", flooding(head(200, length=100 * MB), b"x" * 4096, 100 * MB)),
    "endless-body": Case("chunks without an end", flooding(CHUNKED, b"1\r\nx\r\n" * 500, 100 * MB)),
    "big-head": Case("20 MB of short headers", flooding(b"HTTP/1.1 200 OK\r\n", b"X-Y: z\r\n" * 500, 20 * MB)),
    "long-header": Case("a header of 20 MB", flooding(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 4096, 20 * MB)),
    "continue-flood": Case("100 Continue, again and again", flooding(b"", head(100, length=None) * 200, 20 * MB)),
    "big-trailer": Case("20 MB of trailers", flooding(CHUNKED + b"0\r\n", b"X-Y: z\r\n" * 500, 20 * MB)),
    "gzip-bomb": Case("10 MB packed into 10 kB, though identity was asked for", _bomb),
    "redirect-301": Case("301 to /followed", _redirect_here),
    "redirect-302": Case("302 to the cloud's metadata", saying(head(302, b"Location: " + METADATA))),
    "redirect-307": Case("307 to /followed", _redirect_here),
    "redirect-308": Case("308 to /followed", _redirect_here),
    "gone": Case("410", saying(head(410))),
    "error": Case("500", saying(head(500))),
    "busy": Case("503, Retry-After: 1200", busy(b"1200", 503)),
    "wait-seconds": Case("429, Retry-After: 1200", busy(b"1200")),
    "wait-date": Case("429, Retry-After: a date in an hour", _in_an_hour),
    "wait-past": Case("429, Retry-After: a date in 2015", busy(b"Wed, 21 Oct 2015 07:28:00 GMT")),
    "wait-years": Case("429, Retry-After: 1000000000", busy(b"1000000000")),
    "wait-1e9": Case("429, Retry-After: 1e9", busy(b"1e9")),
    "wait-negative": Case("429, Retry-After: -5", busy(b"-5")),
    "wait-nan": Case("429, Retry-After: NaN", busy(b"NaN")),
    "wait-digits": Case("429, Retry-After: four hundred nines", busy(b"9" * 400)),
    "wait-empty": Case("429, Retry-After: nothing", busy(b"")),
    "wait-two": Case("429, Retry-After: 1200 and 2400", busy(b"1200", 429, b"Retry-After: 2400")),
    "chunk-garbage": Case("200, then chunks that are none", saying(CHUNKED + b"lots\r\nof\r\nnothing\r\n")),
    "length-negative": Case("a length of -5", saying(head(200, b"Content-Length: -5", length=None) + b"hello")),
    "length-twice": Case("two lengths that differ", saying(head(200, b"Content-Length: 1", length=5) + b"hello")),
    "length-and-chunks": Case("a length and chunks", saying(head(200, b"Transfer-Encoding: chunked") + b"0\r\n\r\n")),
    "status-line": Case("a status line that is none", saying(b"HTTP/1.1 banana\r\nContent-Length: 0\r\n\r\n")),
    "status-999": Case("status 999", saying(head(999))),
    "status-099": Case("status 099", saying(head("099"))),
    "status-2000": Case("status 2000", saying(head(2000))),
    "nul-in-header": Case("a NUL in a header", saying(head(200, b"X-Nul: a\x00b"))),
    "http-0.9": Case("a body without a head", ending(b"<html>fine</html>")),
    "http-2": Case("speaks HTTP/2", saying(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18))),
    "upgrade": Case("101 to something else", saying(head(101, b"Upgrade: tunnel", length=None))),
    "noise": Case("bytes that mean nothing", saying(bytes(range(256)) * 4 + b"\r\n\r\n")),
}
