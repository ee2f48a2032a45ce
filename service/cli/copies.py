"""`db backup`, `db restore`, `db orphans`: a copy of a serving database, one in its place, and what came for tasks it never knew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.opening import cannot, database_of, refuse_to_make, settings_of
from service.cli.stopping import run
from service.cli.terminal import Json, Stop, columns, console, say, show

if TYPE_CHECKING:
    from service.settings import Settings
    from storage.copies import Copy

MOST = 10_000  # as many are kept
HEAD = 200  # of a push's text, for a person

File = Annotated[Path, typer.Argument(metavar="FILE", show_default=False)]
Force = Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")]


def backup(file: File, force: Force = False, json: Json = False) -> None:
    """Copy the database to FILE while it serves: one instant of it, checked, for its owner's eyes (0600)."""
    from service.bootstrap.world import clock
    from storage import copies

    settings = settings_of("db backup")
    path = _database("db backup", settings)
    with _told("db backup", "Copying") as progress:
        made = copies.back_up(path, file.absolute(), now=clock(), replace=force, progress=progress)
    if json:
        show(_facts(made))
        return
    say(f"{made.path}  {_size(made.bytes)}, {_held(made)}")
    say(f"  of {_when(made)}; every page is in order")
    say(f"  {_keys(settings)} not in it, and what is sealed cannot be read without: keep them elsewhere, and keep them")


def restore(file: File, json: Json = False) -> None:
    """Put the copy FILE in the database's place. The next start looks for what was bought since, before it buys anything."""
    from service.bootstrap.world import clock
    from storage import copies

    settings = settings_of("db restore")
    path = _database("db restore", settings)
    with _told("db restore", "Restoring") as progress:
        made = copies.restore(file.absolute(), path, now=clock(), progress=progress)
    if json:
        show(_facts(made))
        return
    say(f"{made.path}  {_size(made.bytes)}, {_held(made)}")
    say(f"  of {_when(made)}; every page is in order")
    if made.aside is not None:
        say(f"  what was there before is {made.aside}")
    say("  the next start looks for what was bought since, before it buys anything: taskrelay serve")
    say("  tasks made since are not in it; pushes of theirs will be kept: taskrelay db orphans")


def orphans(json: Json = False) -> None:
    """List pushes for tasks that this database does not know: made after the copy it was restored from, or taken away since."""
    settings = settings_of("db orphans")
    refuse_to_make("db orphans", settings)
    found = run(_orphans(settings))
    if json:
        show({"object": "list", "data": found})
        return
    head = ("TASK", "PROVIDER", "RECEIVED", "PUSH")
    columns(
        [(one["task"], one["provider"], one["received_at"], one["push"][:HEAD].replace("\n", " ")) for one in found],
        head=head,
    )


async def _orphans(settings: Settings) -> list[dict[str, Any]]:
    from service.core.ids import task_of
    from service.core.times import iso
    from storage import callbacks
    from storage.errors import StorageError

    async with database_of("db orphans", settings) as database:
        try:
            kept = await database.read(lambda tx: callbacks.orphans(tx, batch=MOST))
        except StorageError as error:
            raise Stop(cannot("db orphans", error)) from None
    return [
        {
            "id": one.id,
            "task": task_of(one.submission_id),
            "submission": one.submission_id,
            "provider": one.provider,
            "received_at": iso(one.received_at),
            "push": one.raw.decode(errors="replace"),
        }
        for one in kept
    ]


def _database(command: str, settings: Settings) -> Path:
    if not settings.database_url.startswith("sqlite:///"):
        raise Stop(
            f"{command}: this is for SQLite. PostgreSQL has tools of its own: pg_dump, or base backups and its log (docs/runbook.md)"
        )
    return Path(settings.database_url.removeprefix("sqlite:///")).absolute()


@contextmanager
def _told(command: str, doing: str) -> Iterator[Callable[[int, int], None]]:
    """A line that counts, on a terminal; and one clear line when it cannot be done."""
    from storage.errors import StorageError

    with console(stderr=True).status(f"{doing} …") as status:
        try:
            yield lambda done, pages: status.update(f"{doing} … {done * 100 // max(pages, 1)} %")
        except (StorageError, OSError) as error:
            raise Stop(cannot(command, error)) from None


def _facts(made: Copy) -> dict[str, Any]:
    from service.core.times import iso

    return {
        "file": str(made.path),
        "bytes": made.bytes,
        "copied_at": iso(made.copied_at),
        "tasks": made.tasks,
        "open_tasks": made.open_tasks,
        "events": made.events,
        "aside": str(made.aside) if made.aside is not None else None,
    }


def _held(made: Copy) -> str:
    return f"{made.tasks:,} tasks ({made.open_tasks:,} open), {made.events:,} events"


def _when(made: Copy) -> str:
    from service.core.times import iso

    return iso(made.copied_at)


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _keys(settings: Settings) -> str:
    from service.bootstrap.keys import secret_file

    return (
        "the keys of TASKRELAY_SECRET_KEYS are" if settings.secret_keys else f"the keys in {secret_file(settings)} are"
    )
