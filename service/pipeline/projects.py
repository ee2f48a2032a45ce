"""Projects: made, changed, given a new secret, deleted. Used by the command line and the API alike; each with its row in the trail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from service.core import signature
from service.core.keys import NONCE_BYTES, Keyring
from service.core.times import SECOND
from service.pipeline import audit_trail
from service.pipeline.audit_trail import Act
from service.pipeline.orders import PROJECT_SECRET
from storage import endpoints, project_secrets, projects
from storage.database import Connection, Database, behind
from storage.errors import Missing
from storage.projects import Held
from storage.records import OnAmbiguous, Project

DEFAULT_PROJECT = "default"
CURRENT = "current"  # in a path: the caller's own
OLD_MOST = 10  # secrets that sign beside the one in force

Also = Callable[[Connection, Project], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantDesk:
    """What orders about projects and keys take. `by`: the key that orders; None: somebody at the command line of this machine."""

    database: Database
    keyring: Keyring
    clock: Callable[[], int]
    mint: Callable[[str], str]
    entropy: Callable[[int], bytes]
    by: str | None = None

    @property
    def orderer(self) -> Mapping[str, object]:
        """Who ordered, where no key did."""
        return {} if self.by is not None else {"by": "command"}


class InUse(Exception):
    """The project holds something."""

    def __init__(self, held: Held) -> None:
        super().__init__()
        self.held = held


def fresh_project(desk: TenantDesk, name: str, on_ambiguous: OnAmbiguous = OnAmbiguous.HOLD) -> Project:
    """A project that is not stored yet, with a secret of its own."""
    return Project(
        id=desk.mint("prj"),
        name=name,
        secret=seal(desk, fresh_secret(desk)),
        on_ambiguous=on_ambiguous,
        created_at=desk.clock(),
    )


def fresh_secret(desk: TenantDesk) -> str:
    return signature.new_secret(desk.entropy(signature.SECRET_BYTES))


def seal(desk: TenantDesk, secret: str) -> str:
    return desk.keyring.seal(secret, purpose=PROJECT_SECRET, nonce=desk.entropy(NONCE_BYTES))


def refuse_name(name: object) -> str | None:
    """What is wrong with a project's name. It stands where an id may stand, so it looks like none."""
    if not isinstance(name, str) or not 1 <= len(name) <= 128 or not name.isprintable():
        return "A project's name is 1 to 128 printable characters."
    if name == CURRENT or name.startswith("prj_"):
        return f'A name is neither "{CURRENT}" nor begins with prj_: it can stand where an id does.'
    return None


async def make_project(desk: TenantDesk, project: Project, *, detail: Mapping[str, object], also: Also) -> None:
    """Store a project. Raises `Duplicate` when the name is taken. `also` runs last in the same unit."""

    async def unit(tx: Connection) -> None:
        await projects.insert(tx, project)
        await note(tx, desk, "project.create", project.id, {"name": project.name, **detail}, project.created_at)
        await also(tx, project)

    await desk.database.write(unit)


async def change_project(
    desk: TenantDesk,
    project_id: str,
    *,
    name: str | None,
    on_ambiguous: OnAmbiguous | None,
    acts: Sequence[tuple[str, Mapping[str, object]]],
    also: Also,
) -> bool:
    """Set what is given; None leaves it. `acts`: what it is called in the trail. Returns whether there is such a project.

    `also` runs last in the same unit. Raises `Duplicate` when the name is taken.
    """
    now = desk.clock()

    async def unit(tx: Connection) -> bool:
        await projects.turn(tx, project_id)
        found = await projects.get(tx, project_id)
        if found is None:
            return False
        changed = replace(found, name=name or found.name, on_ambiguous=on_ambiguous or found.on_ambiguous)
        await projects.save(tx, changed)
        for action, detail in acts:
            await note(tx, desk, action, project_id, detail, now)
        await also(tx, changed)
        return True

    return await desk.database.write(behind(unit, project_id))


async def rotate_secret(
    desk: TenantDesk, project_id: str, fresh: str, *, overlap_seconds: int, also: Also
) -> Sequence[str] | None:
    """Put a new secret in force; the old one signs beside it until the overlap is over. Returns whose lanes must read it again.

    None: there is no such project. `also` runs last in the same unit.
    """
    sealed, now = seal(desk, fresh), desk.clock()
    retires_at = now + overlap_seconds * SECOND

    async def unit(tx: Connection) -> Sequence[str] | None:
        if not await project_secrets.rotate(tx, project_id, sealed, now=now, retires_at=retires_at, most=OLD_MOST):
            return None
        await note(tx, desk, "project.rotate", project_id, {"overlap_seconds": overlap_seconds}, now)
        found = await projects.get(tx, project_id)
        assert found is not None, "it was there a statement ago, and is locked"
        await also(tx, found)
        return await endpoints.hidden_ids(tx, project_id)

    return await desk.database.write(behind(unit, project_id))


async def delete_project(desk: TenantDesk, project_id: str, *, trail: str | None) -> bool:
    """Take a project away that holds nothing but revoked keys and settings. Returns whether it was there; raises `InUse`.

    `trail`: the project in whose trail it is noted; None: its own, which stays as long as every trail.
    """
    now = desk.clock()

    async def unit(tx: Connection) -> bool:
        await projects.turn(tx, project_id)
        found = await projects.get(tx, project_id)
        if found is None:
            return False
        if held := await projects.held(tx, project_id):
            raise InUse(held)
        await projects.delete(tx, project_id)
        detail = {"project": project_id, "name": found.name}
        await note(tx, desk, "project.delete", trail or project_id, detail, now)
        return True

    try:
        return await desk.database.write(behind(unit, project_id))
    except Missing:  # something came in after we looked, and refers to it
        raise InUse(await desk.database.read(lambda tx: projects.held(tx, project_id))) from None


async def note(
    tx: Connection, desk: TenantDesk, action: str, project_id: str, detail: Mapping[str, object], now: int
) -> None:
    act = Act(action=action, key_id=desk.by, detail={**detail, **desk.orderer})
    await audit_trail.note(tx, act, project_id=project_id, now=now, mint=desk.mint)
