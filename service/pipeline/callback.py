"""Step 2 of the flow: a push whose token was good becomes an observation. What cannot be read, or was too big to read, still rings."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from service.core.observation import Claim, Reading
from service.core.times import iso
from service.pipeline.accounts import AccountDesk
from service.pipeline.ledger import Callback, Recorded
from service.pipeline.recorder import Recorder
from service.providers.base import Provider, Push

log = logging.getLogger("taskrelay.callback")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackDesk:
    """What taking a push needs. `read_token`: the submission a provider's token names, or None. `secrets`: by provider, of its accounts.

    `echo`: the answer to a probe of our own, from its token and body; None when it is none.
    """

    recorder: Recorder
    providers: Mapping[str, Provider]
    read_token: Callable[[str, str], str | None]
    secrets: Mapping[str, tuple[str, ...]]
    clock: Callable[[], int]
    echo: Callable[[str, bytes], str | None] = lambda token, body: None


def secrets_of(accounts: Mapping[str, AccountDesk]) -> dict[str, tuple[str, ...]]:
    """The providers' own signing secrets, where configured."""
    found: dict[str, tuple[str, ...]] = {}
    for account in accounts.values():
        if account.webhook_secret is not None:
            name = account.provider.name
            found[name] = (*found.get(name, ()), account.webhook_secret)
    return found


def take(
    provider: Provider, submission_id: str, headers: Mapping[str, str], body: bytes, desk: CallbackDesk
) -> asyncio.Future[Recorded]:
    """Hand a push to the recorder; done once it is durable. Raises `Unavailable` when nothing more can wait."""
    push = Push(headers=headers, body=body)
    try:
        reading = provider.read(push)
    except Exception:
        # An adapter's mistake must not cost the bell: the bytes are kept and the provider is asked.
        log.exception("reading a push of %s: its adapter failed", provider.name)
        reading = Reading(claim=Claim.UNKNOWN, detail="the adapter could not read the push")
    secrets, now = desk.secrets.get(provider.name), desk.clock()
    signed = secrets is not None and any(provider.signed(push, secret, now) for secret in secrets)
    return desk.recorder.submit(
        Callback(provider=provider.name, submission_id=submission_id, reading=reading, body=body, signed=signed, at=now)
    )


def take_unread(provider: Provider, submission_id: str, why: str, desk: CallbackDesk) -> asyncio.Future[Recorded]:
    """Ring for a push whose body was refused. `why` is kept in the body's place.

    With its second: the same push twice is one observation, but two refused bodies need not have been the same push.
    """
    note = f"{why} at {iso(desk.clock() // 1_000_000 * 1_000_000)}"
    reading = Reading(claim=Claim.UNKNOWN, detail=note)
    return desk.recorder.submit(
        Callback(provider=provider.name, submission_id=submission_id, reading=reading, body=note.encode())
    )
