"""What PostgreSQL and its driver say when something fails, sorted by what helps: running again, waiting, or nothing."""

from __future__ import annotations

import re

import asyncpg

from storage.errors import Busy, CommitUnknown, Duplicate, Full, Missing, StorageError, Unavailable, Unreached

# Somebody else was first; nothing was written, and running again is the answer.
RACES = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
SLOW = (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError)
# The server cannot just now: starting, stopping, failing over, full of connections, or out of reach.
AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.IdleSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
    asyncpg.InvalidCachedStatementError,  # a migration changed a column under it: a new connection prepares it anew
    asyncpg.TooManyConnectionsError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby that was the primary a moment ago
    asyncpg.InternalClientError,
    asyncpg.InterfaceError,
    ConnectionError,
    OSError,
    TimeoutError,
)
FULL = (asyncpg.DiskFullError, asyncpg.OutOfMemoryError)
KEY = re.compile(r"Key \((?P<columns>.*?)\)=")


def away(error: BaseException | None) -> bool:
    """Whether the server cannot be used just now. A value the driver cannot send is ours, though it calls both by one name."""
    if isinstance(error, Unreached):
        return away(error.__cause__)
    return isinstance(error, AWAY) and not (isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError))


def silent(error: BaseException) -> bool:
    """Whether the server said nothing for as long as it was waited for: it would be waited for as long again."""
    return isinstance(error.__cause__ if isinstance(error, Unreached) else error, TimeoutError)


def passes(error: BaseException) -> bool:
    """Whether trying again may help."""
    return (isinstance(error, (*RACES, *SLOW)) or away(error)) and not isinstance(error, CommitUnknown)


def translated(error: BaseException) -> BaseException:
    """A driver's exception in our words; everything else as it is."""
    told: StorageError
    match error:
        case asyncpg.UniqueViolationError():
            told = Duplicate(_columns(error))
        case asyncpg.ForeignKeyViolationError():
            told = Missing("the row refers to one that does not exist")
        case _ if isinstance(error, FULL):
            told = Full("the database server has no room")
        case _ if isinstance(error, (*RACES, *SLOW)):
            told = Busy(f"the database is busy: {error}")
        case _ if away(error):
            told = Unavailable(f"the database cannot be used just now: {error or type(error).__name__}")
        case asyncpg.PostgresError() | asyncpg.InterfaceError():
            told = StorageError(str(error))  # a statement or value of ours is wrong
        case _:
            return error
    told.__cause__ = error
    return told


def _columns(error: asyncpg.UniqueViolationError) -> str:
    """The columns as SQLite names them; the server's own language may be another, then the rule's name must do."""
    match = KEY.match(error.detail or "")
    if match is None:
        return f"{error.table_name}: {error.constraint_name}"
    return ", ".join(f"{error.table_name}.{column}" for column in match["columns"].split(", "))
