from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.requests import Request

from service.api.intake import Intake, receive, refuse_encoded
from service.api.problems import Problem

TOO_LARGE = Problem("too_large", "Too large.")


def request(*parts: bytes, headers: Sequence[tuple[bytes, bytes]] = (), ends: bool = True) -> Request:
    """A request whose body comes in these parts; without its end nothing comes after them."""
    coming: list[dict[str, Any]] = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if ends:
        coming.append({"type": "http.request", "body": b"", "more_body": False})

    async def more() -> dict[str, Any]:
        if not coming:
            await asyncio.Event().wait()
        return coming.pop(0)

    return Request({"type": "http", "method": "POST", "path": "/", "headers": list(headers)}, more)


async def taken(asked: Request, into: Intake, *, most: int = 10, seconds: float = 60) -> bytes:
    return await receive(asked, most=most, seconds=seconds, too_large=TOO_LARGE, into=into)


async def test_a_body_is_taken_whole_and_makes_room_again() -> None:
    intake = Intake(most=10)
    assert await taken(request(b"hello", b"world"), intake) == b"helloworld"
    assert intake.held == 0


@pytest.mark.parametrize(
    "asked", [request(b"12345", b"678901"), request(headers=[(b"content-length", b"11")])], ids=["counted", "stated"]
)
async def test_a_body_past_its_limit_is_refused_and_makes_room_again(asked: Request) -> None:
    intake = Intake(most=100)
    with pytest.raises(Problem) as caught:
        await taken(asked, intake)
    assert caught.value is TOO_LARGE and intake.held == 0


async def test_bodies_that_are_too_much_together_are_told_to_come_back() -> None:
    intake = Intake(most=10)
    waiting = asyncio.create_task(taken(request(b"1234567", ends=False), intake))
    while not intake.held:  # noqa: ASYNC110 (nobody tells of it)
        await asyncio.sleep(0)
    with pytest.raises(Problem) as caught:
        await taken(request(b"1234"), intake)
    assert caught.value.code == "unavailable" and caught.value.headers["retry-after"]
    assert await taken(request(b"123"), intake) == b"123"
    waiting.cancel()
    await asyncio.wait([waiting])
    assert intake.held == 0


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    intake = Intake()
    with pytest.raises(Problem) as caught:
        await taken(request(b"1", ends=False), intake, seconds=0.01)
    assert caught.value.code == "too_slow" and caught.value.headers == {"connection": "close"} and intake.held == 0


@pytest.mark.parametrize(
    ("stated", "refused"),
    [
        ([], False),
        ([b"identity"], False),
        ([b""], False),
        ([b"gzip"], True),
        ([b"identity", b"br"], True),
        ([b"GZIP"], True),
    ],
)
def test_a_packed_body_is_refused_however_it_is_stated(stated: list[bytes], refused: bool) -> None:
    asked = request(headers=[(b"content-encoding", one) for one in stated])
    if not refused:
        refuse_encoded(asked)
        return
    with pytest.raises(Problem) as caught:
        refuse_encoded(asked)
    assert caught.value.code == "unsupported_media_type"
