"""A look into a database from outside of the service that works on it: what is committed, by a connection of its own.

Answers at once and not as a coroutine, also to who is called from an event loop.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from storage import dialect

VERSION = "/*sqlite:*/ PRAGMA data_version /*postgres: SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint */"


class Outside:
    """One connection. Statements may hold conditional comments and no parameters."""

    def __init__(self, url: str) -> None:
        self._file: sqlite3.Connection | None = None
        if url.startswith("sqlite:///"):
            self._file = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=5)
            return
        import asyncpg

        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._link = self._wait(asyncpg.connect(url))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        if self._file is not None:
            return self._file.execute(sql).fetchall()
        return [tuple(row) for row in self._wait(self._link.fetch(dialect.postgres(sql)[0]))]

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is read in it is of one moment."""
        self.rows("BEGIN /*postgres: ISOLATION LEVEL REPEATABLE READ, READ ONLY */")
        try:
            yield
        finally:
            self.rows("ROLLBACK")

    def version(self) -> int:
        """Changes with every commit of somebody else that wrote."""
        [(version,)] = self.rows(VERSION)
        return int(version)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            return
        self._wait(self._link.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Outside:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def _wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)
