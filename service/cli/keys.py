"""`keys`: make API keys, on a stopped or a serving database."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.opening import cannot, settings_of, store_of
from service.cli.terminal import USAGE, Json, Stop, say, show

if TYPE_CHECKING:
    from service.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Make API keys, on a stopped or a serving database.")


@app.command("create")
def create(
    name: Annotated[str, typer.Option("--name", help="What you will recognise it by.", show_default=False)],
    scope: Annotated[
        list[str],
        typer.Option("--scope", help="tasks, endpoints, read or admin; as often as needed.", show_default=False),
    ],
    project: Annotated[
        str | None, typer.Option(help="A project's name or id; by default the first one.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Make a key and show it, once: only a digest of it is kept."""
    facts = asyncio.run(_make(settings_of("keys"), name, scope, project))
    if json:
        show(facts)
        return
    say(f"{facts['key']}")
    say(f"  {facts['id']}  {name}   scopes {', '.join(facts['scopes'])}   project {facts['project']}")
    say("  Shown once. To use it here: export TASKRELAY_KEY=…")


async def _make(settings: Settings, name: str, scopes: list[str], project: str | None) -> dict[str, Any]:
    from service.bootstrap.keys import key_for
    from storage.errors import StorageError

    wanted = [part for scope in scopes for part in scope.replace(",", " ").split()]
    async with store_of("keys", settings) as (database, keyring):
        try:
            made = await key_for(database, keyring, name=name, scopes=wanted, project=project)
        except ValueError as error:
            raise Stop(cannot("keys", error), USAGE) from None
        except StorageError as error:
            raise Stop(cannot("keys", error)) from None
    return {
        "id": made.id,
        "key": made.key,
        "name": made.name,
        "project": made.project_id,
        "scopes": sorted(made.scopes),
    }
