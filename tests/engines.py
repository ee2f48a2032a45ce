"""The engine the service's suites run on: SQLite in the test's folder or, with TEST_ENGINE=postgres, a real PostgreSQL."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.databases import Databases

ENGINE = os.environ.get("TEST_ENGINE", "sqlite")
POSTGRES = ENGINE == "postgres"
assert ENGINE in ("sqlite", "postgres"), f"TEST_ENGINE={ENGINE}: sqlite or postgres"

_ending = ExitStack()
_databases: Databases | None = None
_empty: tuple[bytes, bytes] | None = None


async def address(folder: Path, clock: Callable[[], int] | None = None) -> str:
    """The URL of the folder's database. `clock`: what the database's own clock shall show; without one, the machine's."""
    global _databases
    if not POSTGRES:
        if not (folder / "t.db").exists():
            (folder / "t.db").write_bytes(await _migrated())
        return f"sqlite:///{folder}/t.db"
    if _databases is None:
        from tests import databases, postgres

        server = _ending.enter_context(postgres.server(durable=False, settings=databases.SETTINGS))
        _databases = databases.Databases(server)
        _ending.callback(_databases.close)
    return await _databases.address(folder, clock)


async def _migrated() -> bytes:
    """The file of an installation of its own, migrated once per process, which takes 5 ms; its id is another each time."""
    global _empty
    if _empty is None:
        from storage import projects
        from storage.database import open_database

        with TemporaryDirectory() as folder:
            database = await open_database(f"sqlite:///{folder}/t.db", clock=lambda: 1)
            installation = (await database.read(projects.installation)).encode()
            await database.close()
            _empty = (Path(folder) / "t.db").read_bytes(), installation
    made, installation = _empty
    return made.replace(installation, secrets.token_hex(len(installation) // 2).encode())


def release() -> None:
    """A test is over: the next one may have its databases."""
    if _databases is not None:
        _databases.release()


def close() -> None:
    _ending.close()
