"""Where `keys` and `projects` are done: on this machine's own database, stopped or serving, or with --url over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.client import KEY_VARIABLE, Api
from service.cli.lists import MOST, listed, pages
from service.cli.opening import cannot, settings_of, store_of
from service.cli.stopping import run
from service.cli.terminal import USAGE, Stop

if TYPE_CHECKING:
    from service.bootstrap.tenants import Tenants

# No variable: in the shell of a client they would turn to the database of another machine than the one they are typed on.
Remote = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="Ask the taskrelay that listens there, with a key that has the scope admin, and not this machine's own database.",
        show_default=False,
    ),
]
RemoteKey = Annotated[
    str, typer.Option("--key", envvar=KEY_VARIABLE, show_default=False, help="With --url: the key to ask with.")
]


def asked(
    command: str, url: str | None, key: str, *, here: Callable[[Tenants], Awaitable[Any]], there: Callable[[Api], Any]
) -> Any:
    """What was answered. Raises `Stop` with why not."""
    if url is None:
        return run(_here(command, here))
    with Api(url, key) as api:
        return there(api)


async def _here(command: str, order: Callable[[Tenants], Awaitable[Any]]) -> Any:
    from service.bootstrap.tenants import Refused, Tenants
    from storage.errors import StorageError

    async with store_of(command, settings_of(command)) as (database, keyring):
        try:
            return await order(Tenants(database, keyring))
        except ValueError as error:
            raise Stop(cannot(command, error), USAGE) from None
        except (StorageError, Refused) as error:
            raise Stop(cannot(command, error)) from None


def page_of(
    command: str,
    url: str | None,
    key: str,
    path: str,
    wanted: Mapping[str, Any],
    here: Callable[[Tenants, int, str | None], Awaitable[dict[str, Any]]],
    *,
    limit: int,
    after: str | None,
    all_of_them: bool,
    quiet: bool,
) -> Any:
    """A page of a list, or all of it from there on as one. `here`: so many of our own database's behind a cursor."""
    return asked(
        command,
        url,
        key,
        here=lambda own: whole(partial(here, own), after) if all_of_them else here(own, limit, after),
        there=lambda api: listed(api, path, wanted, limit=limit, after=after, whole=all_of_them, quiet=quiet),
    )


async def whole(page: Callable[[int, str | None], Awaitable[dict[str, Any]]], after: str | None) -> dict[str, Any]:
    """Every page from there on, as one."""
    rows: list[Any] = []
    while True:
        found = await page(MOST, after)
        rows += found["data"]
        if not found["has_more"]:
            return {**found, "data": rows}
        after = found["next"]


def project_id(api: Api, name: str) -> str:
    """The id of a project, of which a person may say the name. Raises `Stop`."""
    if name == "current" or name.startswith("prj_"):
        return name
    for page in pages(api, "/v1/projects", {}):
        for one in page["data"]:
            if one["name"] == name:
                return str(one["id"])
    raise Stop(f"projects: this key sees no project {name!r}. taskrelay projects list --url … shows those it does")
