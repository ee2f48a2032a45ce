"""The seam between the functions of this package and the engines: two small protocols and `open_database`.

A *unit* of work is an async function of one `Connection`. It may run twice (after a conflict, or because its group was rolled
back), touches nothing but the connection, and awaits nothing else. `write` returns only after the unit is durable.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

Value = str | int | bytes | float | None
Params = Mapping[str, object]
Row = tuple[object, ...]
T = TypeVar("T")


class Connection(Protocol):
    """What a unit of work may do. Statements use `:name` parameters; a list is passed as one array parameter."""

    async def fetch(self, sql: str, params: Params | None = None, /) -> list[tuple[object, ...]]:
        """Run one statement, return its rows (of a SELECT or RETURNING)."""

    async def each(self, sql: str, rows: Sequence[Params], /) -> list[tuple[object, ...]]:
        """Run one statement per parameter set, return all rows together: how a compare-and-set tells who won."""

    async def many(self, sql: str, rows: Sequence[Params], /) -> None:
        """Run one statement per parameter set, return nothing: for inserts."""

    async def change(self, sql: str, rows: Sequence[Params], /) -> int:
        """Run one statement per parameter set, return how many rows were written. Each may write one row at most.

        The text ends in `/*postgres: RETURNING … */`: SQLite counts by itself, and there RETURNING doubles the price.
        """


Unit = Callable[[Connection], Awaitable[T]]


class Database(Protocol):
    """An open database. Every method may raise `errors.Unavailable`."""

    async def write(self, unit: Unit[T], /) -> T:
        """Run the unit in a transaction that is synced to disk before this returns."""

    async def read(self, unit: Unit[T], /) -> T:
        """Run a unit that only reads, on one consistent snapshot."""

    def claim_serving(self) -> bool:
        """Say that this process serves. Returns whether it alone may; raises StorageError when another one does."""

    async def close(self) -> None:
        """Finish what was accepted, then close."""


async def open_database(url: str, *, clock: Callable[[], int]) -> Database:
    """Open, check and migrate the database that `url` names. `clock`: microseconds UTC, where the engine has none.

    `sqlite:///relative.db`, `sqlite:////absolute.db`, `postgresql://…`. Raises ValueError for another scheme, `StorageError` when it
    cannot be used. SQLite is migrated here; PostgreSQL by `taskrelay db migrate` alone, because other replicas may be serving.
    """
    if url.startswith("sqlite:///"):
        from storage.sqlite import SQLiteDatabase

        return await SQLiteDatabase.open(url.removeprefix("sqlite:///"), clock=clock)
    if url.startswith("postgresql://"):
        from storage.postgres import PostgresDatabase

        return await PostgresDatabase.open(url)
    scheme = url.split(":", 1)[0]
    raise ValueError(f"no storage engine for {scheme!r}: use sqlite:///file.db or postgresql://user@host/name")
