from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from service.sandbox.jobs import Push
from service.sandbox.postman import signed_headers
from service.sandbox.serve import serve
from service.sandbox.subscriber import Subscriber
from tests.service.sandbox.conftest import SECRET

OTHER = "whsec_b3RoZXJzZWNyZXRvdGhlcnNlY3JldA=="
EVENT = b'{"id":"evt_1","type":"task.succeeded"}'


@pytest.fixture
async def hook(receiver: Subscriber) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        await serve(receiver) as served,
        httpx.AsyncClient(base_url=served.url, timeout=60, trust_env=False) as client,
    ):
        yield client


def signed(secret: str = SECRET, at: float | None = None) -> dict[str, str]:
    push = Push(webhook_id="evt_1", word="", at=0, body=EVENT)
    return signed_headers(push, secret, int(time.time() if at is None else at))


async def received(hook: httpx.AsyncClient) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = (await hook.get("/_received")).json()
    return listed


@pytest.mark.parametrize("path", ["/hook", "/", "/any/other"])
async def test_signed_event_is_taken_at_any_path_and_recorded(hook: httpx.AsyncClient, path: str) -> None:
    assert (await hook.post(path, content=EVENT, headers=signed())).status_code == 204
    [event] = await received(hook)
    assert (event["path"], event["webhook_id"], event["valid"], event["reason"]) == (path, "evt_1", True, None)
    assert event["sha256"] == hashlib.sha256(EVENT).hexdigest()
    assert (event["body"], event["status"]) == (EVENT.decode(), 204)
    assert event["headers"]["webhook-id"] == "evt_1"
    assert abs(event["received_at"] - time.time()) < 60


@pytest.mark.parametrize(
    ("headers", "content", "why"),
    [
        (dict, EVENT, "Missing required headers"),
        (lambda: signed(OTHER), EVENT, "No matching signature"),
        (signed, EVENT + b" ", "No matching signature"),
        (lambda: signed(at=1_000_000_000), EVENT, "too old"),
        (lambda: signed() | {"webhook-signature": "nonsense"}, EVENT, "ValueError"),
        (signed, b"\xff", "UnicodeDecodeError"),
    ],
)
async def test_event_that_does_not_verify_is_recorded_with_the_reason(
    hook: httpx.AsyncClient, headers: Callable[[], dict[str, str]], content: bytes, why: str
) -> None:
    # Signed by the test and not where tests are collected: five minutes later a signature is too old.
    assert (await hook.post("/hook", content=content, headers=headers())).status_code == 204
    [event] = await received(hook)
    assert event["valid"] is False and why in event["reason"]


async def test_any_of_several_secrets_will_do(hook: httpx.AsyncClient) -> None:
    await hook.put("/_secret", json={"secret": OTHER})
    await hook.post("/hook", content=EVENT, headers=signed())
    await hook.put("/_secret", json={"secrets": [OTHER, SECRET]})
    await hook.post("/hook", content=EVENT, headers=signed())
    assert [event["valid"] for event in await received(hook)] == [False, True]


async def test_without_a_secret_nothing_is_valid(hook: httpx.AsyncClient) -> None:
    await hook.put("/_secret", json={"secrets": []})
    await hook.post("/hook", content=EVENT, headers=signed())
    assert "no secret" in (await received(hook))[0]["reason"]


@pytest.mark.parametrize(
    "order", [{}, {"secret": "whsec_"}, {"secret": 5}, {"secret": "whsec_ä"}, {"secrets": [1]}, []]
)
async def test_what_is_no_secret_is_refused_and_the_old_one_stays(hook: httpx.AsyncClient, order: object) -> None:
    assert (await hook.put("/_secret", json=order)).status_code == 400
    await hook.post("/hook", content=EVENT, headers=signed())
    assert (await received(hook))[0]["valid"]


async def test_told_to_fail_it_does_so_that_many_times(hook: httpx.AsyncClient) -> None:
    await hook.put("/_answers", json={"status": 503, "times": 2, "headers": {"retry-after": "7"}})
    replies = [await hook.post("/hook", content=EVENT, headers=signed()) for _ in range(3)]
    assert [(reply.status_code, reply.headers.get("retry-after")) for reply in replies] == [
        (503, "7"),
        (503, "7"),
        (204, None),
    ]
    assert [event["status"] for event in await received(hook)] == [503, 503, 204]


async def test_told_to_hang_it_records_and_never_answers(hook: httpx.AsyncClient) -> None:
    await hook.put("/_answers", json={"hang": True, "times": 1})
    with pytest.raises(httpx.ReadTimeout):
        await hook.post("/hook", content=EVENT, headers=signed(), timeout=httpx.Timeout(60, read=0.2))
    [event] = await received(hook)
    assert event["valid"] and event["status"] is None
    assert (await hook.post("/hook", content=EVENT, headers=signed())).status_code == 204


@pytest.mark.parametrize(
    "order", [{}, {"status": 99, "times": 1}, {"status": 500}, {"hang": False, "times": 1}, {"hang": True}]
)
async def test_answers_it_does_not_understand_are_refused(hook: httpx.AsyncClient, order: object) -> None:
    reply = await hook.put("/_answers", json=order)
    assert reply.status_code == 400 and "times" in reply.json()["error"]


async def test_reset_forgets_events_and_answers(hook: httpx.AsyncClient) -> None:
    await hook.put("/_answers", json={"status": 500, "times": 9})
    await hook.post("/hook", content=EVENT)
    await hook.post("/_reset")
    assert await received(hook) == []
    assert (await hook.post("/hook", content=EVENT)).status_code == 204


async def test_body_over_a_megabyte_is_413_and_not_kept(hook: httpx.AsyncClient) -> None:
    assert (await hook.post("/hook", content=bytes((1 << 20) + 1))).status_code == 413
    assert await received(hook) == []


async def test_credentials_of_the_sender_are_not_kept(hook: httpx.AsyncClient) -> None:
    await hook.post("/hook", content=EVENT, headers={"authorization": "Bearer hush"})
    assert "hush" not in (await hook.get("/_received")).text


def test_missing_library_is_an_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "standardwebhooks", None)
    with pytest.raises(RuntimeError, match=r"pip install 'taskrelay\[demo\]'"):
        Subscriber(SECRET)
