"""Tenants, and the installation itself."""

from __future__ import annotations

from typing import Any, LiteralString

from storage.database import Connection
from storage.dialect import select
from storage.records import OnAmbiguous, Project, light

BEHIND_ALL = "zz"  # no id begins with z

COLUMNS: LiteralString = "id, name, secret, on_ambiguous, created_at"

INSTALLATION = "SELECT id FROM installation"

# Changes nothing and still has to reach the disk. Replicas that are asked at the same time must not wait for each other's row.
# On PostgreSQL no row is locked, because every replica proves it all the time: the message is what is committed. A transaction that may
# only read lets it pass, but not a change, and one of no row at all is refused too.
TOUCH = """
    /*sqlite:*/ UPDATE installation SET touches = touches + 1
    /*postgres: WITH refused AS (UPDATE installation SET touches = touches WHERE false)
    SELECT pg_logical_emit_message(true, 'taskrelay', 'touch') */
"""

INSERT = """
    INSERT INTO projects (id, name, secret, on_ambiguous, created_at)
    VALUES (:id, :name, :secret, :on_ambiguous, :created_at)
"""

BY_NAME = select(COLUMNS, "FROM projects WHERE name = :name OR id = :name")

GET = select(COLUMNS, "FROM projects WHERE id = :id")

# Who counts what a project has before adding to it takes turns. Not FOR UPDATE, for which every new task of it would wait.
TURN = "SELECT id FROM projects WHERE id = :id /*postgres: FOR NO KEY UPDATE */"

ALL = select(COLUMNS, "FROM projects ORDER BY id")

PAGE = select(COLUMNS, "FROM projects WHERE id < :after ORDER BY id DESC LIMIT :batch")

SAVE = "UPDATE projects SET name = :name, on_ambiguous = :on_ambiguous WHERE id = :id"

# What stands in the way of deleting it. Deleted endpoints, and those of per-task URLs, are no reason by themselves.
HELD = """
    SELECT (SELECT count(*) FROM api_keys WHERE project_id = :id AND revoked_at IS NULL),
           (SELECT count(*) FROM (SELECT id FROM tasks WHERE project_id = :id LIMIT 1) t),
           (SELECT count(*) FROM endpoints WHERE project_id = :id AND deleted_at IS NULL AND hidden = 0),
           (SELECT count(*) FROM (SELECT id FROM events WHERE project_id = :id LIMIT 1) e),
           (SELECT count(*) FROM (SELECT id FROM deliveries WHERE project_id = :id LIMIT 1) d)
"""

# Its tables, those that refer to others first. What names it and is there yet refuses the last of them.
CLEAR: tuple[LiteralString, ...] = (
    "DELETE FROM subscriptions WHERE project_id = :id",
    "DELETE FROM endpoint_secrets WHERE endpoint_id IN (SELECT id FROM endpoints WHERE project_id = :id)",
    "DELETE FROM endpoints WHERE project_id = :id AND (deleted_at IS NOT NULL OR hidden = 1)",
    "DELETE FROM signing_keys WHERE project_id = :id",
    "DELETE FROM project_secrets WHERE project_id = :id",
    "DELETE FROM answers WHERE project_id = :id",
    "DELETE FROM bookings WHERE project_id = :id",
    "DELETE FROM books WHERE project_id = :id",
    "DELETE FROM api_keys WHERE project_id = :id AND revoked_at IS NOT NULL",
)

DELETE = "DELETE FROM projects WHERE id = :id RETURNING id"


async def installation(tx: Connection) -> str:
    """The database's own id: random, and kept through backup and restore."""
    [(found,)] = await tx.fetch(INSTALLATION)
    return str(found)


async def touch(tx: Connection) -> None:
    """Prove that the database takes a write."""
    await tx.fetch(TOUCH)


async def insert(tx: Connection, project: Project) -> None:
    """Raises `Duplicate` when the name is taken."""
    await tx.fetch(
        INSERT,
        {
            "id": project.id,
            "name": project.name,
            "secret": project.secret,
            "on_ambiguous": project.on_ambiguous.value,
            "created_at": project.created_at,
        },
    )


async def by_name(tx: Connection, name: str) -> Project | None:
    """A project by its name or id."""
    rows = await tx.fetch(BY_NAME, {"name": name})
    return _project(rows[0]) if rows else None


async def get(tx: Connection, project_id: str) -> Project | None:
    rows = await tx.fetch(GET, {"id": project_id})
    return _project(rows[0]) if rows else None


async def turn(tx: Connection, project_id: str) -> None:
    """Wait for whoever else adds to what the project has few of; then what is read is what there is."""
    await tx.fetch(TURN, {"id": project_id})


async def every(tx: Connection) -> list[Project]:
    return [_project(row) for row in await tx.fetch(ALL)]


async def page(tx: Connection, *, after: str | None, limit: int) -> list[Project]:
    """Projects before the id `after`, newest first."""
    return [_project(row) for row in await tx.fetch(PAGE, {"after": after or BEHIND_ALL, "batch": limit})]


async def save(tx: Connection, project: Project) -> None:
    """Its name and its policy. Raises `Duplicate` when the name is taken."""
    await tx.fetch(SAVE, {"id": project.id, "name": project.name, "on_ambiguous": project.on_ambiguous.value})


@light(frozen=True, slots=True)
class Held:
    """What a project has. `tasks`, `events`, `deliveries`: 1 for any."""

    keys: int  # in force
    tasks: int
    endpoints: int
    events: int
    deliveries: int

    def __bool__(self) -> bool:
        return bool(self.keys or self.tasks or self.endpoints or self.events or self.deliveries)


async def held(tx: Connection, project_id: str) -> Held:
    [row] = await tx.fetch(HELD, {"id": project_id})
    return Held(*row)  # type: ignore[arg-type]


async def delete(tx: Connection, project_id: str) -> bool:
    """Take a project away that holds nothing, with its settings. Raises `Missing` when something refers to it all the same."""
    for text in CLEAR:
        await tx.fetch(text, {"id": project_id})
    return bool(await tx.fetch(DELETE, {"id": project_id}))


def _project(row: Any) -> Project:
    return Project(id=row[0], name=row[1], secret=row[2], on_ambiguous=OnAmbiguous(row[3]), created_at=row[4])
