from __future__ import annotations

import asyncpg
import pytest
from asyncpg.exceptions import _base

from storage.errors import Busy, CommitUnknown, Duplicate, Full, Missing, StorageError, Unavailable, Unreached
from storage.postgres_errors import away, passes, silent, translated

AWAY = [
    asyncpg.AdminShutdownError("terminating connection due to administrator command"),
    asyncpg.CannotConnectNowError("the database system is starting up"),
    asyncpg.TooManyConnectionsError("sorry, too many clients already"),
    asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
    asyncpg.ReadOnlySQLTransactionError("cannot execute UPDATE in a read-only transaction"),
    asyncpg.InterfaceError("connection is closed"),
    ConnectionRefusedError(111, "Connection refused"),
    TimeoutError(),
]
RACES: list[Exception] = [
    asyncpg.DeadlockDetectedError("deadlock detected"),
    asyncpg.SerializationError("could not serialize access"),
]
SLOW: list[Exception] = [asyncpg.LockNotAvailableError("lock timeout"), asyncpg.QueryCanceledError("statement timeout")]
# The driver's own, raised before anything is sent: it calls itself an error of the interface as a lost connection does.
UNSENDABLE = _base.DataError("invalid input for query argument $1: 99999999999999999999 (value out of int64 range)")


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__)
def test_a_server_that_is_away_is_waited_for_and_then_nothing_was_written(error: Exception) -> None:
    assert away(error)
    assert passes(error)
    assert type(translated(error)) is Unavailable


@pytest.mark.parametrize("error", RACES + SLOW, ids=lambda error: type(error).__name__)
def test_whoever_lost_a_race_or_waited_too_long_for_a_lock_tries_again(error: Exception) -> None:
    assert not away(error)
    assert passes(error)
    assert type(translated(error)) is Busy


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (asyncpg.UniqueViolationError("duplicate key"), Duplicate),
        (asyncpg.ForeignKeyViolationError("not present"), Missing),
        (asyncpg.DiskFullError("No space left on device"), Full),
        (asyncpg.UndefinedTableError('relation "nowhere" does not exist'), StorageError),
        (UNSENDABLE, StorageError),
    ],
)
def test_what_would_fail_again_is_not_tried_again(error: Exception, told: type[StorageError]) -> None:
    assert not away(error)
    assert not passes(error)
    assert type(translated(error)) is told
    assert translated(error).__cause__ is error


def test_a_commit_whose_fate_is_unknown_is_never_tried_again() -> None:
    assert not passes(CommitUnknown("who knows"))


def test_what_is_no_drivers_error_stays_what_it_is() -> None:
    mine = LookupError("mine")
    assert translated(mine) is mine
    assert not passes(mine)


@pytest.mark.parametrize(
    ("cause", "may_pass", "said_nothing"),
    [
        (asyncpg.TooManyConnectionsError("full"), True, False),
        (ConnectionRefusedError(), True, False),
        (TimeoutError(), True, True),
        (asyncpg.InvalidPasswordError("no"), False, False),
        (None, False, False),
    ],
)
def test_a_connection_that_cannot_be_had_is_judged_by_what_was_in_its_way(
    cause: Exception | None, may_pass: bool, said_nothing: bool
) -> None:
    error = Unreached("in words")
    error.__cause__ = cause
    assert (away(error), passes(error), silent(error)) == (may_pass, may_pass, said_nothing)
    assert isinstance(translated(error), Unavailable) and "in words" in str(translated(error))
