"""`db copy`: move everything from an SQLite file into an empty PostgreSQL, or come back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.opening import cannot, settings_of
from service.cli.progress import counting
from service.cli.stopping import run
from service.cli.terminal import FAILED, UNREACHABLE, USAGE, Json, Stop, say, show

if TYPE_CHECKING:
    from storage.moving.course import Moved

COMMAND = "db copy"
SQLITE = "sqlite:///"
POSTGRES = ("postgresql://", "postgres://")

From = Annotated[str, typer.Argument(metavar="SQLITE", help="sqlite:///taskrelay.db", show_default=False)]
To = Annotated[
    str | None,
    typer.Argument(
        metavar="POSTGRES",
        help="postgresql://…; without it TASKRELAY_DATABASE_URL, where no other user of the machine reads a password.",
        show_default=False,
    ),
]
Undo = Annotated[bool, typer.Option("--undo", help="After a copy: give PostgreSQL up and serve the file again.")]
Gone = Annotated[bool, typer.Option("--target-is-gone", help="With --undo: that database exists no more.")]


def copy(source: From, target: To = None, undo: Undo = False, target_is_gone: Gone = False, json: Json = False) -> None:
    """Move everything from an SQLite file that nobody serves into an empty, migrated PostgreSQL, and compare every table.

    May be killed and run again: it goes on where it was. Afterwards PostgreSQL is served, and the file is refused.
    """
    path = _file(source)
    if target_is_gone and not undo:
        raise Stop(f"{COMMAND}: --target-is-gone is for --undo", USAGE)
    url = None if target_is_gone else _server(target)
    if undo:
        _undone(path, url, json)
        return
    moved = _moved(path, url or "")
    if json:
        show(_facts(moved))
        return
    for line in _lines(moved, path):
        say(line)


def _moved(path: Path, url: str) -> Moved:
    from service.bootstrap.world import clock

    with _told():
        from storage.moving import course

        rows = course.rows_of(path, clock())
        with counting("Moving", 2 * rows) as advance:  # each is copied, and each is compared
            return run(course.move(path, url, now=clock(), told=lambda _, more: advance(more)))


def _undone(path: Path, url: str | None, json: bool) -> None:
    from service.bootstrap.world import clock

    with _told():
        from storage.moving import course

        run(course.undo(path, url, now=clock()))
    if json:
        show({"undone": True})
        return
    say(
        f"{path} may be served again. What PostgreSQL bought since the copy is looked for at the start, before anything is bought"
    )
    if url is None:
        say(
            "should that PostgreSQL database still be there: drop it. Served beside the file it would buy everything twice"
        )


@contextmanager
def _told() -> Iterator[None]:
    """One clear line when it cannot be done."""
    from storage.errors import Busy, StorageError, Unavailable

    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise Stop(f"{COMMAND}: asyncpg is not installed. It comes with taskrelay[postgres]") from None
    except (StorageError, OSError) as error:
        away = isinstance(error, Unavailable) and not isinstance(error, Busy)
        raise Stop(cannot(COMMAND, error), UNREACHABLE if away else FAILED) from None


def _file(given: str) -> Path:
    if not given.startswith(SQLITE) or len(given) == len(SQLITE):
        raise Stop(
            f"{COMMAND}: the first is the SQLite file, as sqlite:///taskrelay.db or sqlite:////absolute.db", USAGE
        )
    return Path(given.removeprefix(SQLITE)).absolute()


def _server(given: str | None) -> str:
    url = given if given is not None else settings_of(COMMAND).database_url
    if not url.startswith(POSTGRES):
        where = "the second" if given is not None else "TASKRELAY_DATABASE_URL"
        raise Stop(f"{COMMAND}: {where} is to be the PostgreSQL database, as postgresql://user@host/name", USAGE)
    return url


def _facts(moved: Moved) -> dict[str, Any]:
    return {
        "installation": moved.installation,
        "already": not moved.tables,
        "rows": sum(rows for rows, _ in moved.tables.values()),
        "resumed": moved.resumed,
        "started_over": moved.started_over,
        "last_position": moved.last_position,
        "tables": {name: {"rows": rows, "digest": digest} for name, (rows, digest) in moved.tables.items()},
    }


def _lines(moved: Moved, path: Path) -> Iterator[str]:
    if not moved.tables:
        yield f"{path} has moved: all of it is in PostgreSQL"
    else:
        rows = sum(rows for rows, _ in moved.tables.values())
        yield f"moved {rows:,} rows of {len(moved.tables)} tables; count and checksum of each are the same on both sides"
        if moved.started_over:
            yield "  the file had changed since the run before, so everything was copied anew"
        elif moved.resumed:
            yield f"  {moved.resumed:,} of them were there from a run before, and are what the file holds"
    yield f"  {path} is refused by serve from now on (back again: taskrelay db copy --undo)"
    secret = path.parent / "taskrelay.secret"
    if secret.exists():
        yield f"  every replica needs the keys that sealed its secrets: TASKRELAY_SECRET_KEYS_FILE={secret}"
    else:
        yield "  every replica needs the TASKRELAY_SECRET_KEYS that sealed its secrets"
    yield "  go on with: TASKRELAY_DATABASE_URL=postgresql://… taskrelay serve"
