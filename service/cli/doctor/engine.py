"""The database as an engine: what `serve` would refuse about it, and what an operator should know, each with the line that mends it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from service.cli.doctor.finding import Finding, fine, note, wrong

if TYPE_CHECKING:
    from storage.inspection import Inspected

ABOUT = "database"
MIGRATE = "taskrelay db migrate"
CLOCK = "timedatectl set-ntp true   (on whichever of the two is wrong)"
NOTED_SECONDS = 30.0
REFUSED_SECONDS = 240.0  # receivers refuse a signature five minutes off
SPARE_CONNECTIONS = 10  # for the next replica, and for a person with psql


def judge(seen: Inspected, *, keys: bool = True) -> list[Finding]:
    """`keys`: whether SECRET_KEYS is set; on PostgreSQL nobody serves without."""
    found = [*_schema(seen), *_durability(seen)]
    if seen.engine == "sqlite":
        return found
    return [*found, *_server(seen), *clock(seen.ahead_seconds or 0.0), *_keys(keys)]


def _schema(seen: Inspected) -> Iterator[Finding]:
    if seen.too_new is not None:
        yield wrong(ABOUT, seen.too_new, "pip install --upgrade taskrelay")
    elif seen.moving is not None:
        yield wrong(ABOUT, seen.moving, "TASKRELAY_DATABASE_URL of the one that serves; or: taskrelay db copy --help")
    elif seen.pending and seen.engine == "sqlite":
        text = f"{', '.join(seen.pending)} is still to be applied; serve does it"
        yield note(ABOUT, text, "taskrelay db backup FILE, then taskrelay serve")
    elif seen.pending:
        yield wrong(ABOUT, f"the schema lacks {', '.join(seen.pending)}", MIGRATE)
    else:
        yield fine(ABOUT, f"{seen.engine} {seen.version}, schema {seen.schema}, {seen.bytes / 1e6:,.1f} MB")


def _durability(seen: Inspected) -> Iterator[Finding]:
    said = ", ".join(f"{name}={value}" for name, value in seen.durability.items())
    if seen.engine == "sqlite":
        yield fine(ABOUT, "what is acknowledged is synced: synchronous=FULL")
        return
    commit = seen.durability["synchronous_commit"]
    if commit not in ("on", "remote_apply"):
        text = f"synchronous_commit is {commit}: what is acknowledged could be lost"
        yield wrong(ABOUT, text, f"ALTER ROLE {seen.role} SET synchronous_commit = on;")
    elif off := [name for name in ("fsync", "full_page_writes") if seen.durability[name] != "on"]:
        text = f"{' and '.join(off)} is off on the server: a power cut there loses what was acknowledged"
        yield note(ABOUT, text, f"ALTER SYSTEM SET {off[0]} = on;   (and reload)")
    else:
        yield fine(ABOUT, f"what is acknowledged is synced: {said}")


def _server(seen: Inspected) -> Iterator[Finding]:
    if seen.standby:
        yield wrong(ABOUT, "it is a standby, and only reads", "TASKRELAY_DATABASE_URL=postgresql://<the primary>/…")
    if off := [name for name, value in seen.timeouts.items() if value in ("0", "0ms")]:
        yield wrong(ABOUT, f"{', '.join(off)} of {seen.role} is off: a statement could hang for ever", MIGRATE)
    if seen.lacking:
        text = f"user {seen.role} may not read and write {', '.join(seen.lacking)}"
        fix = f"taskrelay db migrate --role {seen.role}   (as the owner of the tables)"
        yield wrong(ABOUT, text, fix)
    if seen.connections is not None and seen.most_connections is not None:
        text = f"{seen.connections} connections are ours, of {seen.most_connections} it allows in all"
        if seen.most_connections - seen.connections < SPARE_CONNECTIONS:
            yield note(
                ABOUT, text, "ALTER SYSTEM SET max_connections = …;   (and restart it), or put PgBouncer before it"
            )
        else:
            yield fine(ABOUT, text)
    if seen.replicas:
        yield fine(ABOUT, f"worked by {', '.join(one.owner for one in seen.replicas)}")


def clock(ahead: float) -> Iterator[Finding]:
    """`ahead`: seconds that our clock is ahead of the server's."""
    text = f"our clock is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} the server's"
    if abs(ahead) > REFUSED_SECONDS:
        yield wrong("clock", f"{text}: receivers would refuse what we sign", CLOCK)
    elif abs(ahead) > NOTED_SECONDS:
        yield note("clock", text, CLOCK)
    else:
        yield fine("clock", f"within {max(abs(ahead), 0.001):.3f} s of the server's")


def _keys(keys: bool) -> Iterator[Finding]:
    if not keys:
        text = "TASKRELAY_SECRET_KEYS is not set, and replicas must share it"
        yield wrong("settings", text, 'TASKRELAY_SECRET_KEYS="$(openssl rand -base64 48)"')
