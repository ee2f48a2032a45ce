"""`db restored`: say of a database that was brought back by tools of its own engine that it is an older copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.opening import cannot, database_of, refuse_to_make, settings_of
from service.cli.stopping import run
from service.cli.terminal import Json, Stop, say, show
from service.cli.when import instant

if TYPE_CHECKING:
    from service.settings import Settings

COMMAND = "db restored"

At = Annotated[
    str | None,
    typer.Option(
        help="Of when it is, such as 2026-11-20T21:10:00Z: when the dump began, or the recovery target. "
        "Without it: of the newest event in it.",
        show_default=False,
    ),
]


def restored(at: At = None, json: Json = False) -> None:
    """Say that this database is an older copy: after pg_restore, a recovery to a point in time, a snapshot of a disk.

    The next start then looks for what was bought since, before it buys anything. `db restore` says it by itself.
    """
    settings = settings_of(COMMAND)
    refuse_to_make(COMMAND, settings)
    facts = run(_marked(settings, None if at is None else _microseconds(at)))
    if json:
        show(facts)
        return
    say(f"this database is a copy of {facts['copied_at']}")
    say("  the next start looks for what was bought since, before it buys anything: taskrelay serve")
    say("  tasks made since are not in it; pushes of theirs will be kept: taskrelay db orphans")


async def _marked(settings: Settings, at: int | None) -> dict[str, Any]:
    from service.core.times import iso
    from storage import restores
    from storage.errors import StorageError

    await _refuse_served(settings)
    async with database_of(COMMAND, settings) as database:
        try:
            database.claim_serving()  # of a file: none can start in between
            of = await database.read(restores.known_until) if at is None else at
            since = await database.write(lambda tx: restores.mark(tx, at=of))
        except StorageError as error:
            raise Stop(cannot(COMMAND, error)) from None
    return {"copied_at": iso(since)}


async def _refuse_served(settings: Settings) -> None:
    """Only a start looks for anything, so whoever serves already would go on buying."""
    from service.bootstrap.world import clock
    from storage.errors import StorageError
    from storage.inspection import inspect

    pooled = settings.postgres.pooled
    try:
        seen = await inspect(settings.database_url, clock=clock, pooled=pooled)
    except (StorageError, OSError) as error:
        raise Stop(cannot(COMMAND, error)) from None
    # A pooler keeps connections of those that are gone, and leases are copied along: each is asked where it tells.
    alive = len(seen.replicas) if pooled else seen.connections
    if alive:
        told = ", ".join(one.owner for one in seen.replicas) or f"{alive} connections of taskrelay"
        wait = "; who is gone already is forgotten within a minute" if pooled else ""
        raise Stop(f"{COMMAND}: somebody still works on it: {told}. Stop every replica first{wait}")


def _microseconds(text: str) -> int:
    from datetime import datetime

    from service.bootstrap.world import clock

    at = int(datetime.fromisoformat(instant(text, "--at")).timestamp() * 1_000_000)
    if at > clock():
        raise Stop(f"--at {text}: that is still to come. Say of when the copy is")
    return at
