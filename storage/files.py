"""Which file may be an SQLite database of ours. Said before anything is made, in words; SQLite's own are dark or come too late."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from pathlib import Path

from storage.errors import StorageError

MOUNTS = Path("/proc/self/mountinfo")
# A log in shared memory and its locks work between processes of one machine only (sqlite.org/wal.html).
REMOTE = {
    "9p2000.L", "afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "gfs2", "glusterfs",
    "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "smb3", "smbfs",
}  # fmt: skip


def refuse_unusable(path: str) -> None:
    """Raises StorageError with what to do, unless the database may be there or be made there."""
    if not path or path.startswith(":"):
        raise StorageError(
            f"sqlite:///{path} keeps nothing beyond its process, and what is acknowledged must be kept. "
            "Name a file: sqlite:///taskrelay.db"
        )
    file = Path(os.path.realpath(path))  # the log stands beside the file itself, not beside a link to it
    if file.is_dir():
        raise StorageError(f"{path} is a folder. Name a file in it: sqlite:///{path.rstrip('/')}/taskrelay.db")
    if not file.parent.is_dir():
        raise StorageError(f"{path}: the folder does not exist; create it or set TASKRELAY_DATABASE_URL")
    for place, why in ((file.parent, "the log is made beside the database"), (file, "it is where everything is kept")):
        if place.exists() and not os.access(place, os.R_OK | os.W_OK):
            raise StorageError(f"{place} cannot be written, and {why}. Let user {os.geteuid()} read and write it")
    kind = filesystem_of(file.parent)
    if kind in REMOTE:
        raise StorageError(
            f"{path} is on a network file system ({kind}), where SQLite loses writes. Put it on a disk of this machine"
        )


def filesystem_of(folder: Path) -> str | None:
    """The type of the file system that holds the folder, where the kernel says so (Linux)."""
    found: tuple[int, str | None] = (-1, None)
    with contextlib.suppress(OSError):
        for line in MOUNTS.read_text().splitlines():
            left, _, right = line.partition(" - ")  # proc(5): optional fields end at the lone hyphen
            point = Path(left.split(" ")[4].encode().decode("unicode_escape"))  # a space is \040
            if folder.is_relative_to(point):
                found = max(found, (len(point.parts), right.split(" ")[0]), key=lambda one: one[0])
    return found[1]


def claim(path: str) -> int:
    """Become the one process that serves this file, until the descriptor that is returned is closed or the process ends.

    Raises StorageError naming the process that has it.
    """
    lock = os.open(f"{os.path.realpath(path)}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise StorageError(
            f"{path} is served by process {owner}. One process per SQLite file; for replicas use PostgreSQL"
        ) from error
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return lock


def holder(path: str) -> str | None:
    """The process that serves this file, None when nobody does. Looks without making a lock file.

    For the moment of looking a process that wants to serve is refused; a person who starts one while `doctor` runs starts it again.
    """
    try:
        lock = os.open(f"{os.path.realpath(path)}.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return os.read(lock, 32).decode(errors="replace").strip() or "unknown"
    finally:
        os.close(lock)
    return None


def sqlite_version() -> tuple[int, ...]:
    """Of the library that this Python brings."""
    return sqlite3.sqlite_version_info


def create_private(path: str) -> None:
    """It holds what clients asked for: for its owner's eyes. SQLite gives its log the same mode; an existing file keeps its own."""
    with contextlib.suppress(OSError):  # what is wrong with the file, SQLite says better
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
