"""What is known of a database before anybody serves it: engine, schema, durability, rights, clocks, who works. Changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from storage import files, migrate
from storage.database import NO_DRIVER, open_database
from storage.errors import StorageError

POSTGRES = "postgresql://"
MOVED = "everything in this database was moved to another, which serves in its place"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A process that owns lanes now. `seconds`: until its leases end unless it says that it lives."""

    owner: str
    lanes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """`schema`: the newest migration that was applied, 0 on an empty database; `newest`: of this release.

    `durability`, `timeouts`: settings as a connection of ours finds them. `lacking`: rights this role needs and has not.
    `ahead_seconds`: how far our clock is ahead of the server's.
    """

    engine: str
    version: str
    schema: int
    newest: int
    pending: tuple[str, ...]
    too_new: str | None  # why this release may not touch it
    bytes: int
    durability: Mapping[str, str]
    replicas: tuple[Replica, ...] = ()
    timeouts: Mapping[str, str] = field(default_factory=dict)
    lacking: tuple[str, ...] = ()
    role: str | None = None
    standby: bool = False
    connections: int | None = None
    most_connections: int | None = None
    ahead_seconds: float | None = None
    holder: str | None = None  # the process that serves a file
    moving: str | None = None  # why nobody may serve it: it moved to another, or half of one moved in


async def inspect(url: str, *, clock: Callable[[], int], pooled: bool = False) -> Inspected:
    """Look at the database that `url` names. Raises StorageError with what to do when it cannot be reached."""
    if url.startswith(POSTGRES):
        seen: Inspected = await _postgres().inspect(url, clock=clock, pooled=pooled)
        return seen
    return _file(url.removeprefix("sqlite:///"))


async def bring_up(url: str, *, clock: Callable[[], int], role: str | None = None) -> list[str]:
    """Apply what is missing. Returns the names of what was applied. Raises StorageError with what to do.

    `role`: whom replicas connect as, where it is not who migrates; it is let read and write, and gets the time-outs.
    """
    if url.startswith(POSTGRES):
        applied: list[str] = await _postgres().bring_up(url, role)
        return applied
    path = url.removeprefix("sqlite:///")
    files.refuse_unusable(path)
    missing = _missing(path)
    await (await open_database(url, clock=clock)).close()  # opening is what migrates a file
    return missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What was applied, held against this release. The fields are those of `Inspected`."""

    schema: int
    newest: int
    pending: tuple[str, ...]
    too_new: str | None


def _postgres() -> ModuleType:
    try:
        from storage import inspection_postgres
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise StorageError(NO_DRIVER) from error
    return inspection_postgres


def schema_of(done: Mapping[int, int]) -> Schema:
    """`done`: the migrations that were applied, each with the oldest code that may work after it."""
    known = migrate.migrations()
    try:
        migrate.refuse_newer(done)
        too_new = None
    except StorageError as error:
        too_new = str(error)
    return Schema(
        schema=max(done, default=0),
        newest=max(number for number, _, _ in known),
        pending=tuple(name for number, name, _ in known if number not in done),
        too_new=too_new,
    )


def _missing(path: str) -> list[str]:
    return migrate.behind(path) if Path(path).exists() else [name for _, name, _ in migrate.migrations()]


def _file(path: str) -> Inspected:
    files.refuse_unusable(path)
    if not Path(path).exists():
        raise StorageError(f"there is no database at {Path(path).absolute()}. Make it: taskrelay db migrate")
    try:
        with closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)) as raw:
            known = raw.execute("SELECT count(*) FROM sqlite_master WHERE name = 'migrations'").fetchone()[0]
            done: dict[int, int] = dict(raw.execute(migrate.APPLIED).fetchall()) if known else {}
            moved = bool(known) and raw.execute("SELECT moved_at FROM installation").fetchall() not in ([], [(None,)])
            size = raw.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()[0]
    except (sqlite3.Error, ValueError) as error:  # SQLite's words on a damaged one may be no text
        raise StorageError(f"{path} cannot be read: {error}. TASKRELAY_DATABASE_URL names another") from error
    seen = schema_of(done)
    return Inspected(
        engine="sqlite",
        version=sqlite3.sqlite_version,
        schema=seen.schema,
        newest=seen.newest,
        pending=seen.pending,
        too_new=seen.too_new,
        bytes=size,
        durability={"synchronous": "full"},  # whoever opens it sets and reads it back
        holder=files.holder(path),
        moving=MOVED if moved else None,
    )
