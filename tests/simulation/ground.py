"""What a seed starts from: the service's settings, and an empty database with two projects and their keys."""

from __future__ import annotations

import random
from pathlib import Path

from service.core import ids, signature
from service.core.keys import Keyring
from service.pipeline.keys import make_key
from service.settings import Settings, load
from storage import projects
from storage.database import Connection
from storage.records import Project
from storage.sqlite import SQLiteDatabase
from tests.simulation import faults
from tests.simulation.faults import PROJECTS, Plan
from tests.simulation.loop import Loop
from tests.simulation.machine import EPOCH

INSTALLATION = "installation-of-the-simulation"
SECRET_KEY = "6f1d0c2b9a8e47533e5d7f6a1b2c9d80e4f3a596"
PROVIDER_KEY = "canary-provider-key"


def settings_of(plan: Plan) -> Settings:
    """The service's settings, as an operator would write them."""
    given: dict[str, str] = {
        "TASKRELAY_DATABASE_URL": "sqlite:////nowhere/relay.db",
        "TASKRELAY_PUBLIC_URL": "https://relay.example",
        "TASKRELAY_SECRET_KEYS": SECRET_KEY,
    }
    for name in faults.CONTRACTS:
        prefix = f"TASKRELAY_ACCOUNTS__{name.upper()}__"
        given[f"{prefix}API_KEY"] = PROVIDER_KEY
        given[f"{prefix}BASE_URL"] = f"https://{name}.example"
        given[f"{prefix}CALLBACKS"] = plan.callbacks[name]
        given[f"{prefix}ENABLED"] = "true"
        given[f"{prefix}MAX_OPEN_TASKS"] = str(plan.max_open)
        if plan.expected is not None:
            given[f"{prefix}EXPECTED_SECONDS"] = str(plan.expected)
    given["TASKRELAY_ACCOUNTS__CLOUDSWAY__ENDPOINT_PATH"] = "abc123"
    return load(given)


PREPARED: list[tuple[str, str, str]] = []  # project, its id, its key


def template(folder: Path) -> Path:
    """An empty database with two projects and a key for each; made once in a process."""
    path = folder / "template.db"
    if not PREPARED or not path.exists():
        PREPARED.clear()
        path.unlink(missing_ok=True)
        loop = Loop()
        try:
            PREPARED.extend(loop.run_until_complete(_prepare(path)))
        finally:
            loop.close()
    return path


async def _prepare(path: Path) -> list[tuple[str, str, str]]:
    draw = random.Random("template")

    def mint(prefix: str) -> str:
        return ids.mint(prefix, EPOCH, draw.randbytes(10))

    async def at_once() -> None: ...

    database = await SQLiteDatabase.open(str(path), clock=lambda: EPOCH, pace=at_once)
    keyring = Keyring([SECRET_KEY.encode()])
    made: list[tuple[str, str, str]] = []

    async def name_it(tx: Connection) -> None:
        await tx.fetch("UPDATE installation SET id = :id", {"id": INSTALLATION})

    await database.write(name_it)
    for name in PROJECTS:
        sealed = keyring.seal(
            signature.new_secret(draw.randbytes(24)), purpose="project-secret", nonce=draw.randbytes(12)
        )
        project = Project(id=mint("prj"), name=name, secret=sealed, created_at=EPOCH)

        async def insert(tx: Connection, project: Project = project) -> None:
            await projects.insert(tx, project)

        await database.write(insert)
        key = await make_key(
            database,
            keyring,
            name=name,
            scopes=("tasks", "endpoints", "read", "admin"),
            project=name,
            clock=lambda: EPOCH,
            mint=mint,
            entropy=draw.randbytes,
        )
        made.append((name, project.id, key.key))
    await database.close()
    return made
