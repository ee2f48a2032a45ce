"""What a running taskrelay says of a delivery: the bytes that were sent, when each attempt was made, what signs now."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from service.cli.client import Api
from service.cli.terminal import UNREACHABLE, USAGE, Stop
from service.core.formats import render
from service.core.times import parse_iso
from storage.records import EndpointFormat

ID = re.compile(r"[a-z]{2,8}_[0-9A-Z]{26}")


@dataclass(frozen=True, slots=True)
class Sent:
    """`bodies`: by format, the endpoint's own alone when it is known. `secrets`: empty when the key may not see them."""

    bodies: dict[str, bytes] = field(default_factory=dict)
    attempts_at: tuple[int, ...] = ()
    secrets: tuple[str, ...] = field(default=(), repr=False)


def sent_as(api: Api, *, delivery: str | None, event: str | None) -> Sent:
    """What was sent as this delivery, or of this event to whomever."""
    if delivery is None:
        return Sent(_bodies(api.content(f"/v1/events/{_id(event or '', 'evt')}"), None))
    found = api.get(f"/v1/deliveries/{_id(delivery, 'dlv')}")
    if event is not None and event != found["event"]:
        raise Stop(f"{delivery} is a delivery of {found['event']}, not of {event}", USAGE)
    endpoint = _maybe(api, f"/v1/endpoints/{found['endpoint']}")  # None: it carries per-task URLs, or is gone
    attempts = tuple(at for one in found["attempts"] if (at := parse_iso(one["at"])) is not None)
    body = api.content(f"/v1/events/{found['event']}")
    format = endpoint["format"] if endpoint is not None else EndpointFormat.STANDARD.value
    return Sent(_bodies(body, format), attempts, _secrets(api, endpoint))


def _bodies(body: bytes, format: str | None) -> dict[str, bytes]:
    return {one.value: render(one, body) for one in EndpointFormat if format in (None, one.value)}


def _secrets(api: Api, endpoint: dict[str, Any] | None) -> tuple[str, ...]:
    """What signs now, as far as the key may see it."""
    path = "/v1/projects/current/secret" if endpoint is None else f"/v1/endpoints/{endpoint['id']}/secret"
    found = _maybe(api, path)
    secrets = [found["secret"]] if found is not None else []
    if endpoint is not None and "v1a" in endpoint.get("signatures", ()):
        secrets += [one["public_key"] for one in api.get("/v1/signing-keys")["data"]]
    return tuple(secrets)


def _maybe(api: Api, path: str) -> Any:
    """None when it is not there, or not for this key."""
    try:
        return api.get(path)
    except Stop as stop:
        if stop.code == UNREACHABLE:
            raise
        return None


def _id(text: str, prefix: str) -> str:
    if not ID.fullmatch(text) or not text.startswith(f"{prefix}_"):
        raise Stop(f"{text[:60]!r} is no id of this kind; it looks like {prefix}_01M7…", USAGE)
    return text
