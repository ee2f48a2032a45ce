"""API keys: made once, shown once, kept as a digest. Used by the command line and the API alike."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from service.core import signature
from service.core.keys import NONCE_BYTES, Keyring
from storage import projects
from storage.database import Connection, Database
from storage.errors import Duplicate, Missing
from storage.records import ApiKey, Project

SCOPES = ("tasks", "endpoints", "read", "admin")
DEFAULT_PROJECT = "default"
PREFIX = "trk_"
SECRET_BYTES = 24
FORM = re.compile(rb"trk_[A-Za-z0-9_-]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeKey:
    """A key as its owner gets to see it, this once."""

    id: str
    key: str
    name: str
    project_id: str
    scopes: frozenset[str]

    def __repr__(self) -> str:
        return f"MadeKey({self.id})"


async def make_key(
    database: Database,
    keyring: Keyring,
    *,
    name: str,
    scopes: Collection[str],
    project: str | None = None,
    clock: Callable[[], int],
    mint: Callable[[str], str],
    entropy: Callable[[int], bytes],
) -> MadeKey:
    """Make a key of a project (by name or id; None: the default one, which is made when it is not there yet).

    Raises ValueError for a bad name or scope and `Missing` for an unknown project, each with what to do.
    """
    _refuse(name, scopes)
    text = PREFIX + base64.urlsafe_b64encode(entropy(SECRET_BYTES)).decode("ascii")
    key_id, now = mint("key"), clock()
    default = Project(
        id=mint("prj"),
        name=DEFAULT_PROJECT,
        secret=keyring.seal(
            signature.new_secret(entropy(signature.SECRET_BYTES)), purpose="project-secret", nonce=entropy(NONCE_BYTES)
        ),
        created_at=now,
    )

    async def unit(tx: Connection) -> str:
        found = await projects.by_name(tx, project or DEFAULT_PROJECT)
        if found is None and project not in (None, DEFAULT_PROJECT):
            known = ", ".join(one.name for one in await projects.every(tx)) or "none yet"
            raise Missing(f"there is no project {project!r}; there is: {known}")
        if found is None:
            await projects.insert(tx, default)
        owner = found or default
        await projects.insert_key(
            tx,
            ApiKey(
                id=key_id,
                project_id=owner.id,
                name=name,
                digest=digest(text.encode()),
                scopes=frozenset(scopes),
                created_at=now,
            ),
        )
        return owner.id

    try:
        project_id = await database.write(unit)
    except Duplicate:  # another process made the default project in the same moment
        project_id = await database.write(unit)
    return MadeKey(id=key_id, key=text, name=name, project_id=project_id, scopes=frozenset(scopes))


def digest(key: bytes) -> bytes:
    """What is kept of a key. A plain hash will do: 192 random bits cannot be guessed however fast one tries."""
    return hashlib.sha256(key).digest()


def _refuse(name: str, scopes: Collection[str]) -> None:
    if not 1 <= len(name) <= 128 or not name.isprintable():
        raise ValueError("a key's name is 1 to 128 printable characters")
    if unknown := sorted(set(scopes) - set(SCOPES)):
        raise ValueError(f"there is no scope {', '.join(unknown)}; there is {', '.join(SCOPES)}")
    if not scopes:
        raise ValueError(f"a key needs at least one scope: {', '.join(SCOPES)}")
