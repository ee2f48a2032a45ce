"""Moving house, the old one: an SQLite file that nobody serves and nobody writes while it is read."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from storage import files, migrate
from storage.errors import Busy, StorageError
from storage.lanes import VOID_LEASES
from storage.moving.tables import Checksum, Table, Values, quoted, read_tables, weight

BATCH_ROWS = 2_000
BATCH_BYTES = 4_000_000
PATIENCE_SECONDS = 5.0
SHOWN = 20  # faults that are named; where there are more, these say enough

OURS = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('migrations', 'installation', 'tasks')"
INSTALLATION = "SELECT id, moved_at FROM installation"
LAST_POSITION = "SELECT max(seq) FROM sqlite_sequence WHERE name = 'events'"
MARK = "UPDATE installation SET moved_at = ?"
# What the other house has bought since is looked for first, as after a backup was brought back.
UNMARK = "UPDATE installation SET moved_at = NULL, copied_at = coalesce(copied_at, moved_at)"

ZERO_BYTES = "{path} holds texts with a zero byte, which PostgreSQL cannot keep. Nothing was copied. In"
NO_ZERO_BYTES = """\
Make a backup (taskrelay db backup), then cut each such text at its zero byte; for tasks and reference:
  UPDATE tasks SET reference = CAST(substr(CAST(reference AS BLOB), 1, instr(CAST(reference AS BLOB), x'00') - 1) AS TEXT)
   WHERE instr(CAST(reference AS BLOB), x'00') > 0"""


class Source:
    """One transaction from the first look to the mark: what is verified is what was copied, and what is marked is what was verified."""

    def __init__(self, raw: sqlite3.Connection, path: Path) -> None:
        self._raw = raw
        self.path = path
        self.tables: Sequence[Table] = read_tables(raw)
        [(self.installation, self.moved_at)] = raw.execute(INSTALLATION).fetchall()

    def count(self, table: Table) -> int:
        [(found,)] = self._raw.execute(f'SELECT count(*) FROM "{table.name}"').fetchall()  # noqa: S608 (of the schema)
        return int(found)

    def last_position(self) -> int:
        """The last place of the feed that was ever handed out, also of an event that retention took away."""
        [(found,)] = self._raw.execute(LAST_POSITION).fetchall()
        return int(found or 0)

    def refuse_zero_bytes(self) -> None:
        """PostgreSQL keeps none in a text. Only a row that was never sanitised can have one, so it is a person's to judge."""
        faults = [fault for table in self.tables for fault in self._zero_bytes(table)]
        if faults:
            more = [f"… and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
            raise StorageError("\n".join([ZERO_BYTES.format(path=self.path), *faults[:SHOWN], *more, NO_ZERO_BYTES]))

    def _zero_bytes(self, table: Table) -> Iterator[str]:
        for column in table.texts:
            text = f"""
                SELECT {quoted(table.key)} FROM "{table.name}" WHERE instr(CAST("{column}" AS BLOB), x'00') > 0
                """  # noqa: S608 (names of the schema)
            for key in self._raw.execute(text):
                yield f"  {table.name} {', '.join(str(part) for part in key)}: {column}"

    def rows(self, table: Table, *, after: Values | None = None, until: Values | None = None) -> Iterator[Values]:
        """In the order of the key: behind `after`, up to and with `until`."""
        key, places = quoted(table.key), ", ".join("?" * len(table.key))
        bounds = [f"({key}) {sign} ({places})" for sign, bound in ((">", after), ("<=", until)) if bound is not None]
        where = f"WHERE {' AND '.join(bounds)}" if bounds else ""
        text = f'SELECT {quoted(table.columns)} FROM "{table.name}" {where} ORDER BY {key}'  # noqa: S608 (of the schema)
        try:
            yield from self._raw.execute(text, (*(after or ()), *(until or ())))
        except sqlite3.OperationalError as error:
            if "UTF-8" not in str(error):
                raise
            raise StorageError(
                f"{self.path}: a text in table {table.name} is not UTF-8: no taskrelay wrote it"
            ) from None

    def batches(self, table: Table, *, after: Values | None) -> Iterator[list[Values]]:
        """As many rows as fit into a bounded piece of memory."""
        batch, size = list[Values](), 0
        for row in self.rows(table, after=after):
            batch.append(row)
            size += weight(row)
            if len(batch) >= BATCH_ROWS or size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def checksum(self, table: Table, *, until: Values | None) -> Checksum:
        """Of the rows up to and with `until`; of none when nothing was copied yet."""
        found = Checksum()
        for row in self.rows(table, until=until) if until is not None else ():
            found.add(row)
        return found

    def mark(self, now: int) -> None:
        """From here on it is served elsewhere. Durable when this returns."""
        self._raw.execute(MARK, (now,))
        self._raw.execute("COMMIT")

    def unmark(self) -> None:
        """It may be served again. Durable when this returns."""
        self._raw.execute(UNMARK)
        self._raw.execute("COMMIT")


@contextmanager
def opened(path: Path, now: int) -> Iterator[Source]:
    """The file, claimed as `serve` claims it, and locked against writers. Raises StorageError with what to do."""
    if not path.is_file():
        raise StorageError(f"there is no database at {path}")
    files.refuse_unusable(str(path))
    lock = files.claim(str(path))
    try:
        with closing(_connect(path)) as raw:
            yield _locked(raw, path, now)
    except sqlite3.Error as error:
        if str(getattr(error, "sqlite_errorname", "")).startswith("SQLITE_BUSY"):
            raise Busy(f"{path} is in use by another command: {error}. Let it end, then run this again") from error
        raise StorageError(f"{path} cannot be read: {error}") from error
    finally:
        os.close(lock)


def _connect(path: Path) -> sqlite3.Connection:
    """Never makes a file."""
    address = f"file:{quote(os.path.realpath(path))}?mode=rw"
    return sqlite3.connect(address, uri=True, isolation_level=None, timeout=PATIENCE_SECONDS)


def _locked(raw: sqlite3.Connection, path: Path, now: int) -> Source:
    raw.execute("PRAGMA synchronous = FULL")
    raw.execute("PRAGMA trusted_schema = OFF")
    if raw.execute(OURS).fetchone() != (3,):
        raise StorageError(f"{path} is no database of taskrelay")
    migrate.migrate_sqlite(raw, now)  # as every command does that opens it
    raw.execute("BEGIN IMMEDIATE")
    raw.execute(VOID_LEASES)  # whoever held them is dead: we have the claim
    return Source(raw, path)
