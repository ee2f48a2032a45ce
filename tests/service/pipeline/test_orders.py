from __future__ import annotations

import secrets

import orjson
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from service.core import signature
from service.pipeline import orders
from service.pipeline.orders import Orders, Sealed
from storage import endpoint_secrets
from storage.errors import Missing
from storage.outbox import Due
from storage.records import EndpointFormat, EndpointStatus
from tests.service.pipeline.parties import SECOND
from tests.service.pipeline.rig import Rig

BODY = b'{"id":"evt_1","type":"task.failed","timestamp":"2026-11-20T22:35:22.824695Z","data":{"id":"task_1"}}'
DUE = Due("dlv_1", "evt_1", "task.failed", 2, None, 0, BODY)


async def opened(rig: Rig, endpoint: str) -> Orders:
    now = rig.clock()
    found = await rig.database.read(lambda tx: orders.read(tx, endpoint, now=now))
    assert isinstance(found, Sealed)
    return Orders(found, rig.keyring.open)


def verifies(secret: str, body: bytes, headers: dict[str, str]) -> bool:
    try:
        Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


async def test_during_a_rotation_both_secrets_verify_and_afterwards_only_the_new(still: Rig) -> None:
    endpoint = await still.endpoint(await still.project())
    old, new = still.trusted[-1], signature.new_secret(secrets.token_bytes(24))
    sealed = still.keyring.seal(new, purpose=orders.SECRET, nonce=secrets.token_bytes(12))
    now, retires_at = still.clock(), still.clock() + 60 * SECOND
    await still.database.write(
        lambda tx: endpoint_secrets.rotate(tx, endpoint, sealed, now=now, retires_at=retires_at, most=10)
    )
    read = await opened(still, endpoint)
    for at, valid in ((retires_at - 1, (True, True)), (retires_at, (False, True))):
        body, headers = read.message(DUE, at, "taskrelay/test")
        assert (verifies(old, body, headers), verifies(new, body, headers)) == valid
    assert len((await opened(still, endpoint)).keys(now)) == 2


async def test_own_headers_go_along_and_cannot_cover_ours(still: Rig) -> None:
    told = {"authorization": "Bearer x", "webhook-id": "forged"}  # the second one got past the door somehow
    sealed = still.keyring.seal(orjson.dumps(told).decode(), purpose=orders.HEADERS, nonce=secrets.token_bytes(12))
    endpoint = await still.endpoint(await still.project(), headers=sealed)
    _, headers = (await opened(still, endpoint)).message(DUE, still.clock(), "taskrelay/test")
    assert (headers["authorization"], headers["webhook-id"]) == ("Bearer x", "evt_1")


@pytest.mark.parametrize("format", EndpointFormat)
async def test_what_is_signed_is_what_is_sent_in_every_format(still: Rig, format: EndpointFormat) -> None:
    endpoint = await still.endpoint(await still.project(), format=format)
    read = await opened(still, endpoint)
    body, headers = read.message(DUE, still.clock(), "taskrelay/test")
    assert verifies(still.trusted[-1], body, headers)
    assert read.message(DUE, still.clock() + 99 * SECOND, "taskrelay/test")[0] == body
    assert ("cloudevents" in headers["content-type"]) is (format is EndpointFormat.CLOUDEVENTS)


async def test_the_schedule_is_the_endpoints_own_or_ours(still: Rig) -> None:
    project = await still.project()
    own = await opened(still, await still.endpoint(project, retry_schedule="[7,8]"))
    assert list(own.schedule) == [0, 7, 8]
    assert len((await opened(still, await still.endpoint(project))).schedule) == 10


async def test_one_that_is_not_sent_to_has_no_orders(still: Rig) -> None:
    project, now = await still.project(), still.clock()
    for more in ({"status": EndpointStatus.PAUSED}, {"expires_at": now}):
        endpoint = await still.endpoint(project, **more)
        found = await still.database.read(lambda tx, endpoint=endpoint: orders.read(tx, endpoint, now=now))  # type: ignore[misc]
        assert found is not None and not isinstance(found, Sealed)


async def test_without_a_secret_nothing_is_sent_and_the_reason_is_said(still: Rig) -> None:
    endpoint = await still.endpoint(await still.project())
    await still.run("DELETE FROM endpoint_secrets")
    with pytest.raises(Missing, match="rotate"):
        await opened(still, endpoint)
