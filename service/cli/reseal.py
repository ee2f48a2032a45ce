"""`db reseal`: after a new key was put in front of SECRET_KEYS, seal everything with it, so that the old one can go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.opening import cannot, refuse_to_make, settings_of, store_of
from service.cli.stopping import run
from service.cli.terminal import FAILED, Json, Stop, console, say, show

if TYPE_CHECKING:
    from service.settings import Settings

COMMAND = "db reseal"


def reseal(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell which keys are in use.")] = False,
    json: Json = False,
) -> None:
    """Seal every stored secret with the newest of SECRET_KEYS. Exit 1 when one cannot be opened.

    On a stopped database or beside a serving process, which must have been restarted with the new key first. May be
    broken off and run again at any time.
    """
    settings = settings_of(COMMAND)
    refuse_to_make(COMMAND, settings)
    found = run(_resealed(settings, dry_run))
    if json:
        show(found)
    else:
        for line in lines(found):
            say(line)
    if found["failed"]:
        raise typer.Exit(FAILED)


async def _resealed(settings: Settings, dry_run: bool) -> dict[str, Any]:
    from service.bootstrap.keys import reseal_of, seals_of
    from storage.errors import StorageError

    async with store_of(COMMAND, settings) as (database, keyring):
        done, left, failed = 0, 0, dict[str, str]()
        try:
            if not dry_run:
                with console(stderr=True).status("Sealing …") as status:
                    async for told in reseal_of(database, keyring):
                        done, left, failed = told.done, told.passed_over, told.failed
                        status.update(f"Sealing … {done:,} done")
            use = dict(await seals_of(database, keyring))
        except StorageError as error:
            raise Stop(cannot(COMMAND, error)) from None
    newest, *older = keyring.key_ids
    return {
        "newest": newest,
        "resealed": done,
        "left": left,
        "failed": [{"place": place, "why": why} for place, why in failed.items()],
        "keys": [
            {"id": key, "sealed": count, "configured": key in keyring.key_ids} for key, count in sorted(use.items())
        ],
        "unused": [key for key in older if not use.get(key)],
    }


def lines(found: dict[str, Any]) -> list[str]:
    """The same for a person: what was done, which keys are in use, and which may go."""
    told = [f"{one['place']}: {one['why']}" for one in found["failed"]]
    told.append(f"{found['resealed']:,} sealed again with key {found['newest']}.")
    for one in found["keys"]:
        known = "" if one["configured"] else "  not in TASKRELAY_SECRET_KEYS"
        newest = "  the newest" if one["id"] == found["newest"] else ""
        told.append(f"  key {one['id']}  seals {one['sealed']:,}{newest}{known}")
    if found["left"]:
        told.append(f"{found['left']:,} were changed meanwhile by somebody else. Run it again.")
    if found["unused"]:
        told.append(
            f"Nothing is sealed with {', '.join(found['unused'])} any more. It still reads callback and output URLs made with it: "
            "see docs/settings.md before you remove it."
        )
    return told
