"""A statement that fails on purpose, on either engine: what happens when a write of ours is refused in the middle of a transaction."""

from __future__ import annotations

from storage.database import Database
from tests import engines


async def set_trap(database: Database, event: str, table: str, *, when: str = "", text: str) -> None:
    """`event`: such as `BEFORE INSERT`; `when`: a condition on `new`; `text`: what the error says."""
    condition = f"WHEN ({when})" if when else ""
    if engines.POSTGRES:
        does = "RETURNS trigger LANGUAGE plpgsql"
        body = f"BEGIN RAISE EXCEPTION '{text}'; END"
        await _run(database, f"CREATE OR REPLACE FUNCTION trap() {does} AS $$ {body} $$")
        await _run(database, f"CREATE TRIGGER trap {event} ON {table} FOR EACH ROW {condition} EXECUTE FUNCTION trap()")
    else:
        await _run(
            database, f"CREATE TRIGGER trap {event} ON {table} {condition} BEGIN SELECT RAISE(ABORT, '{text}'); END"
        )


async def lift_trap(database: Database, table: str) -> None:
    await _run(database, f"DROP TRIGGER trap /*postgres: ON {table} */")


async def _run(database: Database, sql: str) -> None:
    await database.write(lambda tx: tx.fetch(sql))
