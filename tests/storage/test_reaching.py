"""One line for each way a server can be out of reach, and never the password."""

from __future__ import annotations

import socket

import asyncpg
import pytest

from storage.errors import StorageError, Unavailable
from storage.reaching import refused

URL = "postgresql://relay:very-secret@db.example.org:5433/tasks?sslmode=prefer"


@pytest.mark.parametrize(
    ("error", "told", "passing"),
    [
        (asyncpg.InvalidPasswordError("password authentication failed"), "refuses the password of user relay", False),
        (asyncpg.InvalidCatalogNameError("does not exist"), "has no database tasks. Make it: createdb tasks", False),
        (
            asyncpg.InvalidAuthorizationSpecificationError("no pg_hba.conf entry for host, no encryption"),
            "wants TLS. Add sslmode=require",
            False,
        ),
        (asyncpg.InvalidAuthorizationSpecificationError("role is not permitted to log in"), "does not let user", False),
        (asyncpg.TooManyConnectionsError("too many clients already"), "has no connection left", True),
        (asyncpg.CannotConnectNowError("the database system is starting up"), "is not ready", True),
        (asyncpg.InsufficientPrivilegeError("permission denied for table"), "user relay may not use it", False),
        (
            asyncpg.ReadOnlySQLTransactionError("it is a standby"),
            "is a standby, and only reads. Name the primary",
            True,
        ),
        (
            asyncpg.UndefinedObjectError('unrecognized configuration parameter "channel_binding"'),
            'no such setting: unrecognized configuration parameter "channel_binding". Take it out',
            False,
        ),
        (socket.gaierror(-2, "Name or service not known"), "the name has no address", True),
        (TimeoutError(), "does not answer in time", True),
        (ConnectionError("PostgreSQL server at … rejected SSL upgrade"), "has no TLS. Drop sslmode", False),
        (ConnectionRefusedError(111, "refused"), "nobody listens at db.example.org:5433. Start PostgreSQL", True),
        (FileNotFoundError(2, "no socket"), "nobody listens", True),
        (asyncpg.InterfaceError(f"invalid DSN: {URL}"), "is not one the driver understands", False),
        (ValueError(f"invalid literal: {URL}"), "is not one the driver understands", False),
        (OSError(101, "Network is unreachable"), "cannot be reached: network is unreachable", True),
    ],
)
def test_each_way_is_one_line_with_what_to_do_and_without_the_password(
    error: Exception, told: str, passing: bool
) -> None:
    found = refused(error, URL)
    assert found is not None and told in str(found)
    assert len(str(found).splitlines()) == 1 and "very-secret" not in str(found) and ". " in str(found)
    assert isinstance(found, Unavailable) is passing


def test_what_has_nothing_to_do_with_reaching_it_is_left_to_others() -> None:
    assert refused(StorageError("the schema lacks 0001_first"), URL) is None
    assert refused(asyncpg.UndefinedTableError("no such table"), URL) is None


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql:///tasks?host=/run/postgresql&user=relay", "nobody listens at /run/postgresql:5432"),
        ("postgresql://[::1", "nobody listens at the database"),
        ("postgresql://host:port/x", "nobody listens at the database"),
    ],
)
def test_where_is_told_however_the_url_says_it(url: str, told: str) -> None:
    assert told in str(refused(ConnectionRefusedError(), url))
