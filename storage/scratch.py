"""A database of one's own on a PostgreSQL server, for a measurement: made empty, and dropped when it is over."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

from storage.database import NO_DRIVER
from storage.errors import StorageError

PREFIX = "taskrelay_scratch_"
CONNECT_SECONDS = 10.0


@asynccontextmanager
async def scratch_database(url: str) -> AsyncIterator[tuple[str, str]]:
    """Its URL, and where it is in words without a password. Raises `StorageError` with what to do."""
    try:
        import asyncpg
    except ModuleNotFoundError:
        raise StorageError(NO_DRIVER) from None
    from storage.reaching import refused

    name = PREFIX + secrets.token_hex(6)  # nothing else may be in it, so that it needs no quoting
    link: asyncpg.Connection[asyncpg.Record] | None = None
    try:
        link = await asyncpg.connect(url, timeout=CONNECT_SECONDS)
        await link.execute(f"CREATE DATABASE {name}")
    except BaseException as error:
        if link is not None:
            link.terminate()
            if isinstance(error, asyncpg.InsufficientPrivilegeError):
                raise StorageError("this user may not make databases. Its owner can: ALTER ROLE … CREATEDB") from None
        if not isinstance(error, (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError)):
            raise
        raise refused(error, url) or StorageError(f"the server cannot be used: {error}") from None
    try:
        yield _named(url, name), f"{name} at {_where(url)}"
    finally:
        await link.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await link.close()


def _named(url: str, name: str) -> str:
    """The URL with another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def _where(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname or 'a socket of this machine'}"
