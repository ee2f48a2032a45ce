"""The seam between the functions of this package and the engines: two small protocols and `open_database`.

A *unit* of work is an async function of one `Connection`. It may run twice (after a conflict, or because its group was rolled
back), touches nothing but the connection, and awaits nothing else. `write` returns only after the unit is durable.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from storage.errors import StorageError

Value = str | int | bytes | float | None
Params = Mapping[str, object]
Row = tuple[object, ...]
Key = tuple[str, ...]
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

    async def lastly(self, sql: str, rows: Mapping[Key, Params], merge: Callable[[Params, Params], Params], /) -> None:
        """Run one statement per parameter set before the transaction commits: for rows that many transactions write.

        The unit does not see what it does. `rows`: by the row that each writes. With several writers those of all units of a
        transaction run together, in the order of the rows; of two for one row, what `merge` makes of them.
        """


Unit = Callable[[Connection], Awaitable[T]]


@dataclass(frozen=True, slots=True)
class Apart(Generic[T]):
    """A unit that locks what others write `lastly`, before its end: the two in one transaction would lock out of order.

    With several writers it is grouped with its kind alone, in the order of what each locks.
    """

    unit: Unit[T]
    locks: Key = ()

    def __call__(self, tx: Connection, /) -> Awaitable[T]:
        return self.unit(tx)


def apart(unit: Unit[T], *locks: str) -> Apart[T]:
    """`locks`: names the one row that is locked; nothing for a unit that locks many, itself in their order."""
    return Apart(unit, locks)


@dataclass(frozen=True, slots=True)
class Behind(Generic[T]):
    """A unit that locks a row of its own kind: behind the rows of tasks, and before those that are written `lastly`.

    With several writers it runs behind the others of its group, in the order of what each locks.
    """

    unit: Unit[T]
    locks: Key

    def __call__(self, tx: Connection, /) -> Awaitable[T]:
        return self.unit(tx)


def behind(unit: Unit[T], *locks: str) -> Behind[T]:
    """`locks`: names the one row that it may lock."""
    return Behind(unit, locks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """What of PostgreSQL is used beyond what correctness rests on. Behind a pooler in transaction mode: none but the first."""

    skip_locked: bool = True  # who claims takes what nobody is taking; without, they wait for each other
    notify: bool = True  # replicas ring each other's lanes; without, they look every so often
    prepared: bool = True  # a statement is parsed and planned once a connection


class Database(Protocol):
    """An open database. Every method may raise `errors.Unavailable`."""

    async def write(self, unit: Unit[T], /) -> T:
        """Run the unit in a transaction that is synced to disk before this returns."""

    async def read(self, unit: Unit[T], /) -> T:
        """Run a unit that only reads, on one consistent snapshot."""

    @property
    def waiting(self) -> int:
        """How many writes wait for their turn."""

    def watched(self, told: Callable[[int, float], None], /) -> None:
        """Have each commit told: how many writes were in it, and how many seconds it took."""

    def claim_serving(self) -> bool:
        """Say that this process serves. Returns whether it alone may; raises StorageError when another one does."""

    async def close(self) -> None:
        """Finish what was accepted, then close."""


EVERYTHING = Postgres()
NO_DRIVER = "PostgreSQL needs its driver: pip install 'taskrelay[postgres]'"


async def open_database(url: str, *, clock: Callable[[], int], postgres: Postgres = EVERYTHING) -> Database:
    """Open, check and migrate the database that `url` names. `clock`: microseconds UTC, where the engine has none.

    `sqlite:///relative.db`, `sqlite:////absolute.db`, `postgresql://…`. Raises ValueError for another scheme, `StorageError` when it
    cannot be used. SQLite is migrated here; PostgreSQL by `taskrelay db migrate` alone, because other replicas may be serving.
    """
    if url.startswith("sqlite:///"):
        from storage.sqlite import SQLiteDatabase

        return await SQLiteDatabase.open(url.removeprefix("sqlite:///"), clock=clock)
    if url.startswith("postgresql://"):
        try:
            from storage.postgres import PostgresDatabase
        except ModuleNotFoundError as error:
            if error.name != "asyncpg":
                raise
            raise StorageError(NO_DRIVER) from error

        return await PostgresDatabase.open(url, postgres)
    scheme = url.split(":", 1)[0]
    raise ValueError(f"no storage engine for {scheme!r}: use sqlite:///file.db or postgresql://user@host/name")
