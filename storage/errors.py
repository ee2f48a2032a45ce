"""What can go wrong with storage. Engines translate their own exceptions to these; nothing above sees a driver.

StorageError
├── Duplicate      a unique rule refused the row
├── Missing        a row that must exist does not
├── Stale          a compare-and-set found another version; run the unit again
├── CommitUnknown  the answer to a commit was lost and cannot be had; read before writing again
└── Unavailable    nothing was written; try again later
    ├── Busy       another process keeps the database
    ├── Full       the disk has no room
    └── Unreached  no connection could be had
"""

from __future__ import annotations


class StorageError(Exception):
    """Storage could not do what was asked."""


class Duplicate(StorageError):
    """A unique rule refused the row. `constraint` names the columns or index as the engine states them."""

    def __init__(self, constraint: str) -> None:
        super().__init__(f"already there: {constraint}")
        self.constraint = constraint


class Missing(StorageError):
    """A row that must exist does not."""


class Stale(StorageError):
    """A compare-and-set found another version of the row; the unit must run again."""


class CommitUnknown(StorageError):
    """Whether the unit was written cannot be learned: the server went away between the two. Read before writing again."""


class Unavailable(StorageError):
    """Nothing was written: the database is busy, full or overloaded. Try again later."""


class Busy(Unavailable):
    """Another process keeps the database; it was waited for."""


class Unreached(Unavailable):
    """No connection could be had; `__cause__` says why."""


class Full(Unavailable):
    """The disk that holds the database has no room."""
