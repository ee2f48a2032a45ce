"""`db`: look after the database itself, on a stopped or a serving one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from service.cli import copies, moving, reseal, restored, schema
from service.cli.opening import cannot, database_of, refuse_to_make, settings_of
from service.cli.stopping import run
from service.cli.terminal import FAILED, Json, Stop, console, say, show

if TYPE_CHECKING:
    from service.settings import Settings

SHOWN = 1_000  # differences; where there are more, these say enough

app = typer.Typer(no_args_is_help=True, help="Look after the database itself, on a stopped or a serving one.")


@app.callback()
def group() -> None:
    """Look after the database itself, on a stopped or a serving one."""


@app.command("replay")
def replay(json: Json = False) -> None:
    """Replay each task's history and say where its row, events or timeline differ. Exit 1 when any does."""
    settings = settings_of("db replay")
    refuse_to_make("db replay", settings)
    found = run(_replayed(settings))
    if json:
        show(found)
    else:
        for one in found["differences"]:
            say(f"{one['task']}  {one['field']}: stored {one['stored']}, replayed {one['replayed']}")
        say(_summary(found))
    if found["differing"]:
        raise typer.Exit(FAILED)


app.command("migrate")(schema.migrate)
app.command("status")(schema.status)
app.command("check")(schema.check)
app.command("backup")(copies.backup)
app.command("restore")(copies.restore)
app.command("restored")(restored.restored)
app.command("orphans")(copies.orphans)
app.command("copy")(moving.copy)
app.command("reseal")(reseal.reseal)


async def _replayed(settings: Settings) -> dict[str, Any]:
    from service.bootstrap.stores import replay_of
    from storage.errors import StorageError

    tasks = observations = 0
    differing: set[str] = set()
    differences: list[dict[str, str]] = []
    async with database_of("db replay", settings) as database:
        try:
            with console(stderr=True).status("Replaying …") as status:
                async for page in replay_of(database):
                    tasks += page.tasks
                    observations += page.observations
                    differing |= {one.task_id for one in page.differences}
                    differences += [
                        {
                            "task": one.task_id,
                            "field": one.field,
                            "stored": _text(one.stored),
                            "replayed": _text(one.replayed),
                        }
                        for one in page.differences[: SHOWN - len(differences)]
                    ]
                    status.update(f"Replaying … {tasks:,} tasks")
        except StorageError as error:
            raise Stop(cannot("db replay", error)) from None
    return {"tasks": tasks, "observations": observations, "differing": len(differing), "differences": differences}


def _summary(found: dict[str, Any]) -> str:
    heard = f"{found['tasks']:,} tasks, {found['observations']:,} observations"
    if not found["differing"]:
        return f"{heard}: every row, event and timeline is what its history gives."
    more = "" if len(found["differences"]) < SHOWN else f" The first {SHOWN:,} differences are shown."
    return (
        f"{heard}: {found['differing']:,} tasks differ.{more} Unless somebody changed rows by hand, please report this."
    )


def _text(value: object) -> str:
    return "nothing" if value is None else str(value)
