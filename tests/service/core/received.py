"""A message as a receiver keeps it, for the tests of what can be wrong with it."""

from __future__ import annotations

import json

from service.core import samples, signature
from service.core.events import EventType
from service.core.evidence import Evidence
from service.core.signing_keys import Signer

SECRET = signature.new_secret(bytes(range(24)))
OTHER = signature.new_secret(bytes(range(24, 48)))
SIGNER = Signer(bytes(range(32)))
ID = "evt_01M7"
AT = 1_795_214_122
SECOND = 1_000_000
BODY = samples.sample(EventType.TASK_SUCCEEDED, id=ID, now=AT * SECOND, public_url="https://relay.example.org").replace(
    b'gutter"', 'gutter, 紙の舟"'.encode()
)
VALUE = json.loads(BODY)


def signed_by(secret: str | None = SECRET, *signers: Signer, id: str = ID, at: int = AT, body: bytes = BODY) -> str:
    keys = [signature.decode_secret(secret)] if secret else []
    return signature.sign(keys, id, at, body, signers)


def headers(**changed: str) -> list[tuple[str, str]]:
    """The three headers; `signature="…"` changes one."""
    made = {"id": ID, "timestamp": str(AT), "signature": signed_by()} | changed
    return [(f"webhook-{name}", value) for name, value in made.items()]


def evidence(**more: object) -> Evidence:
    whole: dict[str, object] = {"headers": headers(), "body": BODY, "secrets": [SECRET], "now": AT * SECOND}
    return Evidence(**{**whole, **more})  # type: ignore[arg-type]
