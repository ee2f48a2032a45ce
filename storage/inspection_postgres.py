"""The same of a PostgreSQL server, on one connection of its own; and the migration, for whoever may make tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from storage import connecting, migrate
from storage.errors import StorageError
from storage.inspection import MOVED, Inspected, Replica, schema_of
from storage.postgres_errors import translated
from storage.reaching import refused

if TYPE_CHECKING:
    Link: TypeAlias = asyncpg.Connection[asyncpg.Record]

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0
DURABILITY = ("synchronous_commit", "fsync", "full_page_writes")
NOW = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
OWNERS = """
    SELECT owner, count(*), (max(until) - (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) / 1000000.0
      FROM lanes WHERE owner IS NOT NULL AND until > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
     GROUP BY owner ORDER BY owner
"""
OURS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'taskrelay'"
# What serving writes, and what it only reads.
RIGHTS = """
    SELECT c.relname FROM pg_class c
     WHERE c.oid = ANY(SELECT to_regclass(quote_ident(name)) FROM unnest($1::text[]) AS name)
       AND NOT (has_table_privilege(c.oid, 'SELECT')
                AND (c.relname = 'migrations' OR has_table_privilege(c.oid, 'UPDATE'))
                AND (c.relname IN ('migrations', 'installation')
                     OR (has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'DELETE'))))
     ORDER BY 1
"""
# Of a schema or database that others use too, what is ours.
GRANTS = (
    "SELECT format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), $1::text)",
    "SELECT format('GRANT EXECUTE ON FUNCTION feed_go_on(bigint) TO %I', $1::text)",
)
GRANT_TABLE = "SELECT format('GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE %I TO %I', $1::text, $2::text)"


async def inspect(url: str, *, clock: Callable[[], int], pooled: bool) -> Inspected:
    async with _connected(url, pooled=pooled) as link:
        ledger = await link.fetchval("SELECT to_regclass('migrations') IS NOT NULL")
        seen = schema_of(dict([tuple(row) for row in await link.fetch(migrate.APPLIED)]) if ledger else {})
        return Inspected(
            engine="postgresql",
            version=str(await link.fetchval("SHOW server_version")),
            schema=seen.schema,
            newest=seen.newest,
            pending=seen.pending,
            too_new=seen.too_new,
            bytes=int(await link.fetchval("SELECT pg_database_size(current_database())")),
            durability={name: str(await link.fetchval(f"SHOW {name}")) for name in DURABILITY},
            replicas=tuple(await _replicas(link)) if seen.schema else (),
            timeouts={name: str(await link.fetchval(f"SHOW {name}")) for name in migrate.TIMEOUTS},
            lacking=await _lacking(link),
            role=str(await link.fetchval("SELECT current_user")),
            standby=bool(await link.fetchval("SELECT pg_is_in_recovery()")),
            connections=int(await link.fetchval(OURS)) - 1,  # this one
            most_connections=int(await link.fetchval("SELECT current_setting('max_connections')::int")),
            ahead_seconds=await _ahead(link, clock),
            moving=await _moving(link) if seen.schema else None,
        )


async def bring_up(url: str, role: str | None) -> list[str]:
    """Apply what is missing and set the role's time-outs. One process at a time; others wait for it."""
    async with _connected(url, patient=True) as link:
        try:
            applied = await migrate.migrate_postgres(link)
            if role is not None:
                await _let(link, role)
            return applied
        except asyncpg.InsufficientPrivilegeError as error:
            user = await link.fetchval("SELECT current_user")
            raise StorageError(
                f"user {user} may not do that: {error}. Run it as the owner of the database (with --role for "
                f"whom replicas connect as), or let the owner grant it: GRANT CREATE ON SCHEMA public TO {user}"
            ) from error
        except asyncpg.UndefinedObjectError as error:
            raise StorageError(f"{error}. Make it: CREATE ROLE … LOGIN") from error
        except asyncpg.LockNotAvailableError as error:
            raise StorageError(
                "another migration runs, or a table in use was not given up within 2 s; nothing was changed. Run it again"
            ) from error


async def _let(link: Link, role: str) -> None:
    """Let a role serve: rows, not tables, are its to change; and nothing it asks may hang for ever."""
    async with link.transaction():
        for text in GRANTS:
            await link.execute(await link.fetchval(text, role))
        for table in migrate.tables():
            await link.execute(await link.fetchval(GRANT_TABLE, table, role))
        for setting, value in migrate.TIMEOUTS.items():
            found = await link.fetchval(
                "SELECT format('ALTER ROLE %I IN DATABASE %I SET %I = %L', $1::text, current_database(), $2::text, $3::text)",
                role,
                setting,
                value,
            )
            await link.execute(found)


async def _replicas(link: Link) -> list[Replica]:
    if await link.fetchval("SELECT NOT has_table_privilege('lanes', 'SELECT')"):
        return []
    return [Replica(owner=owner, lanes=held, seconds=float(left)) for owner, held, left in await link.fetch(OWNERS)]


async def _moving(link: Link) -> str | None:
    if await link.fetchval("SELECT to_regclass('moving') IS NOT NULL"):
        return migrate.HALF_MOVED
    if await link.fetchval("SELECT NOT has_table_privilege('installation', 'SELECT')"):
        return None
    return MOVED if await link.fetchval("SELECT bool_or(moved_at IS NOT NULL) FROM installation") else None


async def _lacking(link: Link) -> tuple[str, ...]:
    return tuple(str(name) for (name,) in await link.fetch(RIGHTS, migrate.tables()))


async def _ahead(link: Link, clock: Callable[[], int]) -> float:
    """The second of two looks, in the middle of its round trip: the first also pays for preparing."""
    await link.fetchval(NOW)
    before = clock()
    theirs = int(await link.fetchval(NOW))
    return ((before + clock()) / 2 - theirs) / 1e6


@asynccontextmanager
async def _connected(url: str, *, pooled: bool = False, patient: bool = False) -> AsyncIterator[Link]:
    """`patient`: to change it, which may take a while, and not to look at it, which a standby lets us too."""
    try:
        link = await connecting.connect(
            url,
            standby=not patient,
            command_timeout=None if patient else ANSWER_SECONDS,
            statement_cache_size=0 if pooled else 100,
            server_settings={"application_name": "taskrelay"},
        )
    except Exception as error:
        raise refused(error, url) or translated(error) from error
    try:
        yield link
    except (asyncpg.PostgresError, OSError) as error:
        raise refused(error, url) or StorageError(f"the database cannot tell: {error}") from error
    finally:
        await link.close(timeout=CONNECT_SECONDS)
