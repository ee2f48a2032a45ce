from __future__ import annotations

import base64
import secrets
from contextlib import suppress

import orjson
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError
from svix.webhooks import Webhook as SvixWebhook
from svix.webhooks import WebhookVerificationError as SvixRefused

from service.core import signature
from service.pipeline import orders
from service.pipeline.orders import Orders, Sealed
from service.pipeline.signing import fresh_key
from storage import endpoint_secrets, signing_keys
from storage.errors import Missing
from storage.outbox import Due
from storage.records import EndpointFormat, EndpointStatus, SigningKey
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


def svix_verifies(secret: str, body: bytes, headers: dict[str, str]) -> bool:
    try:
        SvixWebhook(secret).verify(body, headers)
    except SvixRefused:
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
        assert (svix_verifies(old, body, headers), svix_verifies(new, body, headers)) == valid
    assert len((await opened(still, endpoint)).keys(now)) == 2


async def key_of(rig: Rig, project: str) -> SigningKey:
    return fresh_key(rig.keyring, project, now=rig.clock(), mint=rig.mint, entropy=secrets.token_bytes)


def fits(public_key: str, body: bytes, headers: dict[str, str]) -> bool:
    """The opinion of a plain Ed25519 on any of the signatures of v1a."""
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key.removeprefix("whpk_")))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    for signed in headers["webhook-signature"].split(" "):
        version, _, text = signed.partition(",")
        with suppress(InvalidSignature):
            if version == "v1a":
                public.verify(base64.b64decode(text), content)
                return True
    return False


@pytest.mark.parametrize("signatures", ["v1", "v1a", "v1,v1a"])
async def test_an_endpoint_gets_the_signatures_that_it_asked_for(still: Rig, signatures: str) -> None:
    project = await still.project()
    key = await key_of(still, project)
    await still.database.write(lambda tx: signing_keys.need(tx, key))
    read = await opened(still, await still.endpoint(project, signatures=signatures))
    body, headers = read.message(DUE, still.clock(), "taskrelay/test")
    made = [one.split(",")[0] for one in headers["webhook-signature"].split(" ")]
    assert made == signatures.split(",")
    assert fits(key.public_key, body, headers) is ("v1a" in made)
    assert verifies(still.trusted[-1], body, headers) is ("v1" in made)
    assert svix_verifies(still.trusted[-1], body, headers) is ("v1" in made)


async def test_during_a_rotation_both_keys_sign_and_afterwards_only_the_new(still: Rig) -> None:
    project = await still.project()
    old, new = await key_of(still, project), await key_of(still, project)
    expires_at = still.clock() + 60 * SECOND
    await still.database.write(lambda tx: signing_keys.need(tx, old))
    await still.database.write(lambda tx: signing_keys.rotate(tx, new, expires_at=expires_at, most=10))
    read = await opened(still, await still.endpoint(project, signatures="v1a"))
    for at, signs in ((expires_at - 1, (True, True)), (expires_at, (False, True))):
        body, headers = read.message(DUE, at, "taskrelay/test")
        assert (fits(old.public_key, body, headers), fits(new.public_key, body, headers)) == signs
    body, headers = read.message(DUE, still.clock(), "taskrelay/test")
    assert fits(new.public_key, body, {**headers, "webhook-signature": headers["webhook-signature"].split(" ")[0]})


async def test_what_was_read_differs_once_a_key_was_rotated(still: Rig) -> None:
    """So a lane that reads it again opens it again."""
    project = await still.project()
    first, second = await key_of(still, project), await key_of(still, project)
    await still.database.write(lambda tx: signing_keys.need(tx, first))
    endpoint = await still.endpoint(project, signatures="v1,v1a")
    before = (await opened(still, endpoint)).sealed
    assert (await opened(still, endpoint)).sealed == before
    await still.database.write(lambda tx: signing_keys.rotate(tx, second, expires_at=still.clock(), most=10))
    assert (await opened(still, endpoint)).sealed != before


async def test_without_a_signing_key_v1a_is_not_quietly_left_out(still: Rig) -> None:
    endpoint = await still.endpoint(await still.project(), signatures="v1,v1a")
    with pytest.raises(Missing, match="signing key"):
        await opened(still, endpoint)


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
