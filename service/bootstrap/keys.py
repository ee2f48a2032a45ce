"""The keys of an installation: those configured, or those of a file beside the database; and what is made with them."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import suppress
from pathlib import Path

from service.bootstrap.errors import StartError
from service.bootstrap.world import clock, mint
from service.core.keys import Keyring, key_id_of
from service.pipeline.keys import MadeKey, make_key
from service.pipeline.reseal import Resealing, reseal, use_of
from service.settings import Settings
from storage import seals
from storage.database import Database


def keyring_of(settings: Settings) -> Keyring:
    """The configured keys; without any, on SQLite, those of a file beside the database, made at first use."""
    if settings.secret_keys:
        return Keyring([key.get_secret_value() for key in settings.secret_keys])
    path = secret_file(settings)
    if path is None:
        raise StartError(
            "TASKRELAY_SECRET_KEYS is not set. Replicas must share it; make one with: openssl rand -base64 48"
        )
    if not path.exists():
        _make_secret(path)
    lines = [line.strip() for line in path.read_text().splitlines()]
    return Keyring([line.encode() for line in lines if line])


async def refuse_lost_keys(database: Database, key_ids: Collection[str], missing: Path | None = None) -> None:
    """Without the key that sealed them, secrets cannot be opened, and every delivery would fail one by one. Raises `StartError`.

    `missing`: the file that should hold the keys, where it is not there.
    """
    used = {key for sealed in await database.read(seals.use) if (key := key_id_of(sealed)) is not None}
    if lost := ", ".join(sorted(used - set(key_ids))):
        ours = (
            f"which is not among TASKRELAY_SECRET_KEYS ({', '.join(key_ids)})"
            if missing is None
            else f"and {missing} is missing"
        )
        raise StartError(
            f"secrets in the database are sealed with key {lost}, {ours}. Put it back: at the end of the list, or as taskrelay.secret"
            " beside the database"
        )


def _make_secret(path: Path) -> None:
    """Whole or not at all: another process may be making it too, and what it seals must survive a power cut."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(48) + "\n")
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        os.fsync(folder)
        os.close(folder)
    except OSError as error:
        raise StartError(
            f"{path} cannot be made: {(error.strerror or '').lower()}. Mend its folder, or name another in TASKRELAY_DATABASE_URL"
        ) from None


def secret_file(settings: Settings) -> Path | None:
    """Where the key is kept when none is configured; None when it must be configured."""
    if not settings.database_url.startswith("sqlite:///"):
        return None
    return Path(settings.database_url.removeprefix("sqlite:///")).absolute().parent / "taskrelay.secret"


async def key_for(
    database: Database, keyring: Keyring, *, name: str, scopes: Collection[str], project: str | None = None
) -> MadeKey:
    """Make an API key in an open store. Raises ValueError or `StorageError` with what to do."""
    return await make_key(
        database,
        keyring,
        name=name,
        scopes=scopes,
        project=project,
        clock=clock,
        mint=mint,
        entropy=secrets.token_bytes,
    )


def reseal_of(database: Database, keyring: Keyring) -> AsyncIterator[Resealing]:
    """Seal again with the newest key whatever an older one has sealed, a batch at a time."""
    return reseal(database, keyring, entropy=os.urandom)


async def seals_of(database: Database, keyring: Keyring) -> Mapping[str, int]:
    """How many texts each key has sealed."""
    return await use_of(database, keyring)
