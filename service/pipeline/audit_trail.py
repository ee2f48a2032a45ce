"""The trail: who ordered what. Written in the transaction in which the order takes effect, so neither is there without the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import orjson

from storage import audit
from storage.database import Connection
from storage.records import AuditEntry

# Every word that stands in `action`, and what was ordered by it. What may be said of a purchase keeps its own word.
ACTIONS: Mapping[str, str] = {
    "cancel": "a task was canceled before it was bought",
    "adopt": "a person named the job of a purchase in doubt",
    "resubmit": "a possible second charge was accepted: by a key, or by the project's policy",
    "abandon": "a purchase in doubt was given up",
    "erase": "what a task was about was erased; its ledger stays",
    "on_ambiguous": "the project's policy was set",
    "project.create": "a project was made",
    "project.change": "a project got another name or other limits; `detail` has them",
    "project.rotate": "the project got a new secret",
    "project.delete": "a project that held nothing was deleted; `detail` names it",
    "key.create": "an API key was made; `detail` names it",
    "key.revoke": "an API key was revoked; `detail` names it",
    "endpoint.create": "an endpoint was subscribed",
    "endpoint.change": "an endpoint was changed; `detail` names the members",
    "endpoint.pause": "an endpoint was paused",
    "endpoint.resume": "an endpoint was resumed",
    "endpoint.rotate": "an endpoint got a new secret",
    "signing_key.rotate": "the project got a new signing key",
    "endpoint.disable": "an endpoint was disabled by a rule; `detail` says why",
    "endpoint.delete": "an endpoint was deleted",
    "account.pause": "an account's purchases were stopped; `detail` names it",
    "account.resume": "an account was said to be in order; `detail` names it",
    "replay": "events were sent again to an endpoint",
    "retry": "a delivery was made due again",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """An order. `key_id` None: of a rule, or of somebody at this machine's own command line, which `detail.by` says."""

    action: str
    key_id: str | None = None
    detail: Mapping[str, object] = field(default_factory=dict)


async def note(
    tx: Connection,
    act: Act,
    *,
    project_id: str,
    now: int,
    mint: Callable[[str], str],
    task_id: str | None = None,
    endpoint_id: str | None = None,
) -> None:
    """Add an order to the trail. `detail` never holds a URL, a header or a secret: the trail outlives what it speaks of."""
    entry = AuditEntry(
        id=mint("aud"),
        project_id=project_id,
        task_id=task_id,
        endpoint_id=endpoint_id,
        key_id=act.key_id,
        action=act.action,
        detail=orjson.dumps(act.detail).decode(),
        at=now,
    )
    await audit.insert(tx, [entry])
