"""`db migrate`, `db status`, `db check`: bring the schema up, say how the database stands, and what `serve` would refuse about it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.opening import cannot, settings_of
from service.cli.stopping import run
from service.cli.terminal import FAILED, OK, UNREACHABLE, Json, Stop, columns, console, say, show

if TYPE_CHECKING:
    from service.cli.doctor.finding import Finding
    from service.settings import Settings
    from storage.inspection import Inspected


Role = Annotated[
    str | None, typer.Option("--role", metavar="USER", help="Whom replicas connect as, where that is another than you.")
]


def migrate(role: Role = None, json: Json = False) -> None:
    """Apply what this release's schema has and the database lacks. On PostgreSQL also set the time-outs of the user that serves.

    May run beside serving replicas; of several at once, one works and the others wait.
    """
    from service.settings import masked

    settings = settings_of("db migrate")
    applied = run(_migrated(settings, role))
    if json:
        show({"database": masked(settings)["database_url"], "applied": applied})
        return
    for name in applied:
        say(f"applied {name}")
    say("the schema is this release's" + ("" if applied else ": there was nothing to apply"))
    if settings.database_url.startswith("postgresql:"):
        say(
            f"time-outs are set for {role or 'this user'}; connections that are open keep theirs until they are made anew"
        )


def status(json: Json = False) -> None:
    """Say how the database stands: schema, size, connections, who works. Exit 1 when this release cannot serve on it as it is."""
    settings = settings_of("db status")
    seen = run(_seen("db status", settings))
    faults = [one.text for one in _findings(seen) if one.grade == "wrong"]
    if json:
        show({**asdict(seen), "faults": faults})
    else:
        columns([(name, value) for name, value in _told(seen)])
        for fault in faults:
            say(f"cannot be served on: {fault}. More: taskrelay db check")
    raise typer.Exit(FAILED if faults else OK)


def check(json: Json = False) -> None:
    """List what `serve` would refuse about the database, and what an operator should know, each with the line that mends it."""
    from service.cli.doctor.page import document, page, sound

    settings = settings_of("db check")
    findings = _findings(run(_seen("db check", settings)), keys=bool(settings.secret_keys))
    if json:
        show(document({}, findings))
    else:
        say("\n".join(page({}, findings, again="taskrelay db check")))
    raise typer.Exit(OK if sound(findings) else FAILED)


def _findings(seen: Inspected, *, keys: bool = True) -> list[Finding]:
    from service.cli.doctor import engine

    return engine.judge(seen, keys=keys)


async def _migrated(settings: Settings, role: str | None) -> list[str]:
    from service.bootstrap.world import clock
    from storage.errors import StorageError, Unavailable
    from storage.inspection import bring_up

    with console(stderr=True).status("Migrating …"):
        try:
            return await bring_up(settings.database_url, clock=clock, role=role)
        except (StorageError, OSError) as error:
            code = UNREACHABLE if isinstance(error, Unavailable) else FAILED
            raise Stop(cannot("db migrate", error), code) from None


async def _seen(command: str, settings: Settings) -> Inspected:
    from service.bootstrap.world import clock
    from storage.errors import StorageError, Unavailable
    from storage.inspection import inspect

    try:
        return await inspect(settings.database_url, clock=clock, pooled=settings.postgres.pooled)
    except (StorageError, OSError) as error:
        code = UNREACHABLE if isinstance(error, Unavailable) else FAILED
        raise Stop(cannot(command, error), code) from None


def _told(seen: Inspected) -> list[tuple[str, str]]:
    told = [
        ("engine", f"{seen.engine} {seen.version}" + (" (a standby)" if seen.standby else "")),
        (
            "schema",
            f"{seen.schema} of {seen.newest}" + (f", to apply: {', '.join(seen.pending)}" if seen.pending else ""),
        ),
        ("size", f"{seen.bytes / 1e6:,.1f} MB"),
        ("durability", _pairs(seen.durability)),
    ]
    if seen.engine == "sqlite":
        return [*told, ("served by", f"process {seen.holder}" if seen.holder else "nobody")]
    return [
        *told,
        (f"time-outs of {seen.role}", _pairs(seen.timeouts)),
        ("connections", f"{seen.connections} of ours, {seen.most_connections} allowed"),
        ("our clock", f"{seen.ahead_seconds:+.3f} s against the server's"),
        ("working", _working(seen)),
    ]


def _working(seen: Inspected) -> str:
    """A replica that owns no lane just now is not seen here: an idle one leaves no trace."""
    told = ", ".join(f"{one.owner} ({one.lanes} lanes, {one.seconds:.0f} s)" for one in seen.replicas)
    return told or "nobody owns a lane just now"


def _pairs(of: Any) -> str:
    return ", ".join(f"{name}={value}" for name, value in of.items())
