"""How one endpoint wants its events: where to, in which form, signed with what, how fast. Read with its rows, opened when it changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import orjson

from service.core import delivery, formats, signature, signing_keys
from service.core.schedule import schedule_of
from service.core.times import SECOND
from storage import endpoint_secrets, endpoints, project_secrets
from storage import signing_keys as key_rows
from storage.database import Connection
from storage.errors import Missing
from storage.outbox import Due
from storage.records import Endpoint, EndpointStatus

SECRET = "endpoint-secret"
PROJECT_SECRET = "project-secret"
HEADERS = "endpoint-headers"
SIGNING_KEY = "signing-key"

V1, V1A = "v1", "v1a"

T = TypeVar("T")
SealedUntil = tuple[str, int | None]


@dataclass(frozen=True, slots=True)
class Sealed:
    """What is stored. `secrets` and `keys` (of v1a): sealed, with the instant each retires; newest first."""

    endpoint: Endpoint
    secrets: tuple[SealedUntil, ...]
    purpose: str
    keys: tuple[SealedUntil, ...] = ()


async def read(tx: Connection, endpoint_id: str, *, now: int) -> Endpoint | Sealed | None:
    """Everything sending takes; of an endpoint that is not sent to, the endpoint alone."""
    endpoint = await endpoints.by_id(tx, endpoint_id)
    if endpoint is None or not sendable(endpoint, now):
        return endpoint
    if not endpoint.hidden:
        live = await endpoint_secrets.live(tx, endpoint_id, now=now)
        secrets = tuple((one.sealed, one.retires_at) for one in live)
        if not secrets:
            raise Missing(f"endpoint {endpoint_id} has no secret to sign with: rotate it")
        return Sealed(endpoint, secrets, SECRET, await _signing_keys(tx, endpoint, now))
    signing = await project_secrets.live(tx, endpoint.project_id, now=now)
    if not signing:
        raise Missing(f"endpoint {endpoint_id} has no secret to sign with: its project is gone")
    return Sealed(endpoint, tuple((one.sealed, one.retires_at) for one in signing), PROJECT_SECRET)


async def _signing_keys(tx: Connection, endpoint: Endpoint, now: int) -> tuple[SealedUntil, ...]:
    """The project's key pairs, of an endpoint that asked for their signature."""
    if endpoint.signatures == V1:
        return ()
    live = await key_rows.live(tx, endpoint.project_id, now=now)
    if not live:
        raise Missing(f"endpoint {endpoint.id} wants v1a and its project has no signing key: rotate the signing key")
    return tuple((one.sealed, one.expires_at) for one in live)


def sendable(endpoint: Endpoint, now: int) -> bool:
    """Whether anything may be sent to it: neither paused nor disabled, and its lease is not over."""
    return endpoint.status is EndpointStatus.ACTIVE and (endpoint.expires_at is None or now < endpoint.expires_at)


class Overlapping(Generic[T]):
    """Keys of a rotation: one that has retired signs nothing more, though nobody read the rows again."""

    def __init__(self, keys: Sequence[tuple[T, int | None]]) -> None:
        self._until = list(keys)
        self._follow()

    def at(self, now: int) -> list[T]:
        """Those in force, newest first."""
        if self._next_end is not None and now >= self._next_end:
            self._until = [(key, until) for key, until in self._until if until is None or until > now]
            self._follow()
        return self._keys

    def _follow(self) -> None:
        self._keys = [key for key, _ in self._until]
        self._next_end = min((until for _, until in self._until if until is not None), default=None)


class Orders:
    """What `read` found, opened. Raises what opening raises: nothing is signed with a secret that cannot be read."""

    def __init__(self, sealed: Sealed, unseal: Callable[[str, str], str]) -> None:
        endpoint = sealed.endpoint
        self.sealed = sealed
        self.endpoint = endpoint
        self.schedule: Sequence[float] = schedule_of(endpoint.retry_schedule)
        self._extra: Mapping[str, str] = orjson.loads(unseal(endpoint.headers, HEADERS)) if endpoint.headers else {}
        self._content_type = formats.CONTENT_TYPES[endpoint.format]
        secrets = sealed.secrets if V1 in endpoint.signatures.split(",") else ()
        self._keys = Overlapping(
            [(signature.decode_secret(unseal(text, sealed.purpose)), until) for text, until in secrets]
        )
        self._signers = Overlapping(
            [(signing_keys.read_private(unseal(text, SIGNING_KEY)), until) for text, until in sealed.keys]
        )

    def keys(self, now: int) -> list[bytes]:
        """What signs as v1 now, newest first."""
        return self._keys.at(now)

    def message(self, due: Due, now: int, user_agent: str) -> tuple[bytes, dict[str, str]]:
        """The body and headers of one attempt. Raises whatever a poisoned event makes it raise."""
        stamp = now // SECOND
        body = formats.render(self.endpoint.format, due.body)
        headers = delivery.headers_for(
            due.event_id,
            stamp,
            signature.sign(self.keys(now), due.event_id, stamp, body, self._signers.at(now)),
            due.attempts + 1,
            due.event_type,
            user_agent,
            self._content_type,
        )
        return body, {**self._extra, **headers} if self._extra else headers
