from __future__ import annotations

import asyncio
import gzip
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from service.sandbox.hostile import Hostile
from service.sandbox.hostile_cases import ANSWERS
from tests.service.sandbox.test_hostile import speak, whole


async def said(case: str) -> bytes:
    async with Hostile() as hostile:
        return await speak(hostile.urls[case], enough=whole)


DOES = [
    ("drip-head", b"HTTP/1.1 200 OK\r\nX", 18),
    ("hang", b"", 0),
    ("hang-in-body", b"HTTP/1.1 200 X\r\nConnection: close\r\nContent-Length: 10\r\n\r\n", 56),
    ("late", b"", 0),
    ("close", b"", 0),
    ("http-0.9", b"<html>", 6),
    ("redirect-301", b"HTTP/1.1 301 X\r\nConnection: close\r\nLocation: /followed\r\n", 60),
    ("redirect-302", b"HTTP/1.1 302 X\r\nConnection: close\r\nLocation: http://169.254.169.254/", 60),
    ("length-negative", b"HTTP/1.1 200 X\r\nConnection: close\r\nContent-Length: -5\r\n", 50),
    ("status-099", b"HTTP/1.1 099 X\r\n", 20),
]


async def test_each_case_does_what_it_says() -> None:
    async def listen(case: str, least: int) -> bytes:
        if not least:
            return await speak(hostile.urls[case], seconds=0.3)  # nothing is said; the silent ones do not end either
        return await speak(hostile.urls[case], enough=lambda said: len(said) >= least)

    async with Hostile() as hostile:
        texts = await asyncio.gather(*(listen(case, least) for case, _, least in DOES))
    for (case, begins, least), text in zip(DOES, texts, strict=True):
        assert text.startswith(begins) and len(text) >= least and bool(text) == bool(least), case


async def test_the_bomb_is_a_thousand_times_larger_unpacked() -> None:
    _, _, body = (await said("gzip-bomb")).partition(b"\r\n\r\n")
    assert len(gzip.decompress(body)) == 10_000_000 > 900 * len(body)


async def test_a_date_to_wait_for_is_in_an_hour() -> None:
    [line] = [one for one in (await said("wait-date")).split(b"\r\n") if one.startswith(b"Retry-After: ")]
    at = parsedate_to_datetime(line.partition(b": ")[2].decode())
    assert timedelta(minutes=59) < at - datetime.now(UTC) < timedelta(minutes=61)


def test_every_case_says_what_it_does() -> None:
    assert all(case.does for case in ANSWERS.values())
