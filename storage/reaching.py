"""Why a PostgreSQL server cannot be used, in one line with what to do, before anything else was asked of it. No password in it."""

from __future__ import annotations

import socket
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg

from storage.errors import StorageError, Unavailable

URL = "TASKRELAY_DATABASE_URL"


def refused(error: BaseException, url: str) -> StorageError | None:
    """The sentence for an error of connecting; None for one of another kind."""
    host, name, user = _told(url)
    match error:
        case asyncpg.InvalidPasswordError():
            return StorageError(f"{host} refuses the password of user {user}. Mend it in {URL}")
        case asyncpg.InvalidCatalogNameError():
            return StorageError(f"{host} has no database {name}. Make it: createdb {name}, or name another in {URL}")
        case asyncpg.InvalidAuthorizationSpecificationError() if "no encryption" in str(error):
            return StorageError(f"{host} wants TLS. Add sslmode=require (or verify-full) to {URL}")
        case asyncpg.InvalidAuthorizationSpecificationError():
            return StorageError(f"{host} does not let user {user} in: {error}. Mend {URL}, or pg_hba.conf there")
        case asyncpg.TooManyConnectionsError():
            return Unavailable(f"{host} has no connection left: {error}. Raise max_connections, or use a pooler")
        case asyncpg.CannotConnectNowError():
            return Unavailable(f"{host} is not ready: {error}. Try again in a moment")
        case asyncpg.ReadOnlySQLTransactionError():
            return Unavailable(f"{host} is a standby, and only reads. Name the primary in {URL}, or both hosts")
        case asyncpg.UndefinedObjectError() if "configuration parameter" in str(error):
            return StorageError(
                f"{host} has no such setting: {error}. Take it out of {URL} (channel_binding, connect_timeout and their "
                "like are libpq's own, which we do not use)"
            )
        case asyncpg.InsufficientPrivilegeError():
            return StorageError(
                f"user {user} may not use it: {error}. Let its owner run: taskrelay db migrate --role {user}"
            )
        case _:
            return _unreached(error, host)


def _unreached(error: BaseException, host: str) -> StorageError | None:
    match error:
        case socket.gaierror():
            return Unavailable(f"{host}: the name has no address. Mend it in {URL}")
        case TimeoutError():
            return Unavailable(f"{host} does not answer in time (a firewall?). Mend {URL}, or let us through")
        case ConnectionError() if "SSL" in str(error):
            return StorageError(f"{host} has no TLS. Drop sslmode from {URL}, or switch ssl on there")
        case ConnectionRefusedError() | FileNotFoundError():
            return Unavailable(f"nobody listens at {host}. Start PostgreSQL there, or mend {URL}")
        case asyncpg.InterfaceError() | ValueError():  # the driver's own text may hold the URL
            return StorageError(
                f"{URL} is not one the driver understands. Like this: postgresql://user:password@host:5432/name"
            )
        case OSError():
            return Unavailable(
                f"{host} cannot be reached: {(error.strerror or type(error).__name__).lower()}. Mend {URL}"
            )
        case _:
            return None


def _told(url: str) -> tuple[str, str, str]:
    """Where, which database and who, as a person knows them."""
    try:
        parts = urlsplit(url)
        asked = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        where = parts.hostname or asked.get("host") or "localhost"
        port = parts.port or asked.get("port") or 5432
    except ValueError:
        return "the database", "it names", "it names"
    user = unquote(parts.username or "") or asked.get("user", "")
    return f"{where}:{port}", unquote(parts.path.strip("/")) or user or "of the user's name", user or "unnamed"
