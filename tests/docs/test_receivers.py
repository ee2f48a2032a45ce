"""The receivers of docs/receivers take what we sign, once, and nothing else; they refund only what is final."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import WebhookVerificationError

from service.core import signature
from service.core.signing_keys import Signer
from tests.docs.pages import blocks
from tests.docs.receiving import README, RECEIVERS, Receiver, Receiving
from tests.e2e.stack import PATIENCE_SECONDS, Stack, installation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

KEY, OLDER, STRANGER = secrets.token_bytes(24), secrets.token_bytes(24), secrets.token_bytes(24)
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
SIGNER = Signer(bytes(32))
each = pytest.mark.parametrize("receiving", RECEIVERS, ids=lambda receiving: receiving.name.replace(" ", "-"))


def body(number: int, kind: str = "task.succeeded", **told: object) -> bytes:
    """An event as we make them: minified, in UTF-8."""
    task = {"id": f"task_{number}", "reference": f"order-{number}", "final": True, "output_url": "https://v/1", **told}
    event = {"id": f"evt_{number}", "type": kind, "timestamp": "2026-11-20T21:10:00.000000Z", "data": task}
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def signed(sent: bytes, *keys: bytes, age: int = 0, signers: tuple[Signer, ...] = ()) -> dict[str, str]:
    event, stamp = json.loads(sent)["id"], int(time.time()) - age
    return {
        "content-type": "application/json",
        "webhook-id": event,
        "webhook-timestamp": str(stamp),
        "webhook-signature": signature.sign(list(keys or [KEY]), event, stamp, sent, signers),
    }


def post(receiver: Receiver, sent: bytes, headers: dict[str, str]) -> int:
    return httpx.post(receiver.url, content=sent, headers=headers, timeout=30).status_code


@each
async def test_it_takes_each_of_our_events_once(receiving: Receiving, tmp_path: Path) -> None:
    paper = "紙の舟 é 🛶"
    async with receiving.running(tmp_path, SECRET) as receiver:
        for sent, headers in (
            (body(1, prompt=paper), signed(body(1, prompt=paper))),
            (body(2), signed(body(2), STRANGER, KEY)),  # another secret still signs beside it
            (body(3), signed(body(3), signers=(SIGNER,))),  # v1a beside v1
            (body(4, prompt="x" * 200_000), signed(body(4, prompt="x" * 200_000))),
            (body(1, prompt=paper), signed(body(1, prompt=paper), age=120)),  # again, by an earlier attempt
        ):
            assert 200 <= post(receiver, sent, headers) < 300, receiver.complaints
    async with receiving.running(tmp_path, SECRET) as again:  # killed, started anew, and told once more
        assert 200 <= post(again, body(2), signed(body(2))) < 300
    assert receiver.said == [f"deliver order-{number} https://v/1" for number in (1, 2, 3, 4)]
    assert again.said == []


@each
async def test_it_refuses_everything_else(receiving: Receiving, tmp_path: Path) -> None:
    sent = body(1)
    other = json.dumps(json.loads(sent), indent=1).encode()
    good = signed(sent)
    cases = {
        "another secret": (sent, signed(sent, STRANGER)),
        "re-encoded": (other, good),
        "an hour old": (sent, signed(sent, age=3600)),
        "an hour ahead": (sent, signed(sent, age=-3600)),
        "another id": (sent, good | {"webhook-id": "evt_2"}),
        "no signature": (sent, {name: value for name, value in good.items() if name != "webhook-signature"}),
        "nonsense": (sent, good | {"webhook-signature": "nonsense"}),
        "v1a alone": (sent, good | {"webhook-signature": good["webhook-signature"].replace("v1,", "v1a,")}),
        "not text": (b"\xff\xfe" + sent, good),
        "nothing": (b"", good),
    }
    async with receiving.running(tmp_path, SECRET) as receiver:
        refused = {name: post(receiver, *case) for name, case in cases.items()}
        assert refused == dict.fromkeys(cases, 401), receiver.complaints
        assert post(receiver, sent + b" " * 300_000, good) in {401, 413}
    assert receiver.said == []


@each
async def test_it_refunds_only_what_is_final(receiving: Receiving, tmp_path: Path) -> None:
    told = (
        body(1, "task.failed", output_url=None),
        body(2, "task.failed", final=False, output_url=None),
        body(3, "task.expired", final=False, output_url=None),
        body(4, "task.canceled", output_url=None),
        body(5, "task.of_a_later_version"),
        body(6, "task.expired", output_url=None),
        body(7).removesuffix(b"}") + b',"test":true}',
        body(8, final=True, late=True),
    )
    async with receiving.running(tmp_path, SECRET) as receiver:
        assert {post(receiver, sent, signed(sent)) for sent in told} <= {200, 204}
    assert [" ".join(line.split()[:2]) for line in receiver.said] == [
        "refund order-1",
        "refund order-4",
        "refund order-6",
        "deliver order-8",
    ]


async def test_each_of_them_hears_of_real_tasks(tmp_path: Path) -> None:
    async with AsyncExitStack() as ending:
        receivers = []
        for receiving in RECEIVERS:
            (tmp_path / receiving.name).mkdir()
            receivers.append(await ending.enter_async_context(receiving.running(tmp_path / receiving.name, SECRET)))
        stack = await ending.enter_async_context(installation(tmp_path))
        await stack.start()
        async with stack.client() as client:
            for receiver in receivers:
                made = await client.post("/v1/endpoints", json={"url": receiver.url, "secret": SECRET})
                assert made.status_code == 201, made.text
                tested = await client.post(f"/v1/endpoints/{made.json()['id']}/test")
                assert tested.status_code == 202, tested.text
        await stack.create(reference="order-1")
        await stack.create(reference="order-2", input={"prompt": "A paper boat [sandbox: fail]"})
        await stack.until(lambda: {len(receiver.said) for receiver in receivers} == {2}, "what two ends ask for")
        owed = await settled(stack)
    assert {(one["status"], len(one["attempts"])) for one in owed} == {("delivered", 1)}
    for receiver in receivers:
        delivered, refunded = sorted(receiver.said)
        assert delivered.startswith(f"deliver order-1 {stack.url}/o/")
        assert refunded.split()[:2] == ["refund", "order-2"]


async def settled(stack: Stack) -> list[dict[str, Any]]:
    """All that is owed, once nothing of it waits: a receiver knows of a delivery before its answer is written down."""
    async with asyncio.timeout(PATIENCE_SECONDS), stack.client() as client:
        while True:
            owed: list[dict[str, Any]] = (await client.get("/v1/deliveries")).json()["data"]
            if all(one["status"] != "pending" for one in owed):
                return owed
            await asyncio.sleep(0.05)


async def test_the_lines_of_the_first_page_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sent = body(1, outputs=[{"url": "https://v/1"}], prompt="x" * 200_000)
    async with README.running(tmp_path, SECRET) as receiver:
        assert post(receiver, sent, signed(sent)) == 204
        assert post(receiver, sent, signed(sent, STRANGER)) >= 400
    [shown] = blocks("README.md", "python")
    exec(compile(shown, "README.md", "exec"), {"secret": SECRET, "raw_body": sent, "headers": signed(sent)})
    assert capsys.readouterr().out == "https://v/1\n"
    with pytest.raises(WebhookVerificationError):
        exec(compile(shown, "README.md", "exec"), {"secret": SECRET, "raw_body": sent + b" ", "headers": signed(sent)})
