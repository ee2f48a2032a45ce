"""The engine the service's suites run on: SQLite in the test's folder or, with TEST_ENGINE=postgres, a real PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.databases import Databases

ENGINE = os.environ.get("TEST_ENGINE", "sqlite")
POSTGRES = ENGINE == "postgres"
assert ENGINE in ("sqlite", "postgres"), f"TEST_ENGINE={ENGINE}: sqlite or postgres"

_ending = ExitStack()
_databases: Databases | None = None


async def address(folder: Path, clock: Callable[[], int] | None = None) -> str:
    """The URL of the folder's database. `clock`: what the database's own clock shall show; without one, the machine's."""
    global _databases
    if not POSTGRES:
        return f"sqlite:///{folder}/t.db"
    if _databases is None:
        from tests import databases, postgres

        server = _ending.enter_context(postgres.server(durable=False, settings=databases.SETTINGS))
        _databases = databases.Databases(server)
        _ending.callback(_databases.close)
    return await _databases.address(folder, clock)


def release() -> None:
    """A test is over: the next one may have its databases."""
    if _databases is not None:
        _databases.release()


def close() -> None:
    _ending.close()
