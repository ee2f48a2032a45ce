"""How one endpoint wants its events: where to, in which form, signed with what, how fast. Read with its rows, opened when it changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from service.core import delivery, formats, signature
from service.core.schedule import schedule_of
from service.core.times import SECOND
from storage import endpoint_secrets, endpoints, projects
from storage.database import Connection
from storage.errors import Missing
from storage.outbox import Due
from storage.records import Endpoint, EndpointStatus

SECRET = "endpoint-secret"
PROJECT_SECRET = "project-secret"
HEADERS = "endpoint-headers"


@dataclass(frozen=True, slots=True)
class Sealed:
    """What is stored. `secrets`: sealed, with the instant each retires; newest first."""

    endpoint: Endpoint
    secrets: tuple[tuple[str, int | None], ...]
    purpose: str


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
        return Sealed(endpoint, secrets, SECRET)
    project = await projects.get(tx, endpoint.project_id)
    if project is None:
        raise Missing(f"endpoint {endpoint_id} has no secret to sign with: its project is gone")
    return Sealed(endpoint, ((project.secret, None),), PROJECT_SECRET)


def sendable(endpoint: Endpoint, now: int) -> bool:
    """Whether anything may be sent to it: neither paused nor disabled, and its lease is not over."""
    return endpoint.status is EndpointStatus.ACTIVE and (endpoint.expires_at is None or now < endpoint.expires_at)


class Orders:
    """What `read` found, opened. Raises what opening raises: nothing is signed with a secret that cannot be read."""

    def __init__(self, sealed: Sealed, unseal: Callable[[str, str], str]) -> None:
        endpoint = sealed.endpoint
        self.sealed = sealed
        self.endpoint = endpoint
        self.schedule: Sequence[float] = schedule_of(endpoint.retry_schedule)
        self._extra: Mapping[str, str] = orjson.loads(unseal(endpoint.headers, HEADERS)) if endpoint.headers else {}
        self._content_type = formats.CONTENT_TYPES[endpoint.format]
        self._secrets = [
            (signature.decode_secret(unseal(text, sealed.purpose)), retires_at) for text, retires_at in sealed.secrets
        ]
        self._keys = [key for key, _ in self._secrets]
        self._retires_at = min((at for _, at in self._secrets if at is not None), default=None)

    def keys(self, now: int) -> list[bytes]:
        """What signs now, newest first: one that has retired signs nothing more, though nobody read the rows again."""
        if self._retires_at is not None and now >= self._retires_at:
            self._secrets = [(key, at) for key, at in self._secrets if at is None or at > now]
            self._keys = [key for key, _ in self._secrets]
            self._retires_at = min((at for _, at in self._secrets if at is not None), default=None)
        return self._keys

    def message(self, due: Due, now: int, user_agent: str) -> tuple[bytes, dict[str, str]]:
        """The body and headers of one attempt. Raises whatever a poisoned event makes it raise."""
        stamp = now // SECOND
        body = formats.render(self.endpoint.format, due.body)
        headers = delivery.headers_for(
            due.event_id,
            stamp,
            signature.sign(self.keys(now), due.event_id, stamp, body),
            due.attempts + 1,
            due.event_type,
            user_agent,
            self._content_type,
        )
        return body, {**self._extra, **headers} if self._extra else headers
