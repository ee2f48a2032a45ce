"""The first start on an empty database: the default project, and one key that may do everything, shown once or left in a file."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from service.bootstrap.keys import secret_file
from service.bootstrap.world import clock, mint
from service.core.keys import Keyring
from service.pipeline.keys import first_key, fresh_text
from service.pipeline.projects import TenantDesk
from service.settings import Settings
from storage import projects
from storage.database import Database

FILE = "taskrelay.admin-key"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstKey:
    """The key itself, for a person at a terminal, or the file it was left in."""

    key: str | None = None
    file: Path | None = None

    def __repr__(self) -> str:
        return f"FirstKey({self.file})"


def admin_key_file(settings: Settings) -> Path | None:
    """Where the first key is left when nobody looks; None where there is no folder of the database's own."""
    beside = secret_file(settings)
    return None if beside is None else beside.with_name(FILE)


async def first_start(settings: Settings, database: Database, keyring: Keyring, *, shown: bool) -> FirstKey | None:
    """Make the first key, in a database that has no project yet. `shown`: it is put before a person, else left in a file.

    None: somebody made a project before, at another replica too; or the key could be given to nobody, which makes none. Raises OSError
    when the file cannot be written.
    """
    path = admin_key_file(settings)
    if await database.read(lambda tx: projects.page(tx, after=None, limit=1)) or not (shown or path is not None):
        return None
    text = fresh_text(secrets.token_bytes)
    desk = TenantDesk(database=database, keyring=keyring, clock=clock, mint=mint, entropy=secrets.token_bytes)
    if shown or path is None:
        return FirstKey(key=text) if await first_key(desk, text) else None
    # Before it is good for anything: a kill in between leaves a file that opens nothing, and the next start writes another.
    _write(path, text)
    made = None
    try:
        made = await first_key(desk, text)
    finally:
        if made is None:
            path.unlink()
    return FirstKey(file=path) if made is not None else None


def _write(path: Path, text: str) -> None:
    """For its owner alone from the first byte, whole or not at all, and on disk."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        fresh.unlink()
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    os.fsync(folder)
    os.close(folder)
