"""`doctor`: what is in force, every mistake at once with the line that mends it, and whether the parts can be reached."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.client import CLIENT_VARIABLES
from service.cli.opening import cannot, environment
from service.cli.terminal import FAILED, OK, Json, say, show

if TYPE_CHECKING:
    from service.settings import Problem, Settings

Finding = tuple[bool, str, str]  # fine?, what was looked at, what was found


def doctor(
    offline: Annotated[
        bool, typer.Option("--offline", help="Look at the settings only; open and resolve nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what is in force and everything that is wrong with it. Asks no provider; nothing is paid."""
    from service.settings import SettingsError, load, masked

    environ = {name: value for name, value in environment().items() if name not in CLIENT_VARIABLES}
    shown: Mapping[str, Any] = {}
    findings: list[Finding] = []
    try:
        settings = load(environ)
    except SettingsError as error:
        problems = [*error.problems, *_unknown(environ)]
    else:
        shown = masked(settings)
        problems = _problems(settings, environ)
        if not offline:
            findings = asyncio.run(_look(settings))
    sound = all(problem.note for problem in problems) and all(fine for fine, _, _ in findings)
    if json:
        show(
            {
                "ok": sound,
                "settings": shown,
                "problems": [{"text": p.text, "fix": p.fix, "note": p.note} for p in problems],
                "checks": [{"ok": fine, "name": name, "detail": detail} for fine, name, detail in findings],
            }
        )
    else:
        say("\n".join(_page(shown, problems, findings, sound)))
    raise typer.Exit(OK if sound else FAILED)


def _problems(settings: Settings, environ: Mapping[str, str]) -> list[Problem]:
    from service.bootstrap import provider_names
    from service.settings import problems

    return problems(settings, environ, providers=provider_names())


def _unknown(environ: Mapping[str, str]) -> list[Problem]:
    """What can be said of the variables' names while their values cannot be used."""
    from service.settings import Problem, shape

    return [
        Problem(
            f"{name} is no setting of taskrelay, so it has no effect",
            f"rename it to {near}" if near else f"unset {name}",
        )
        for name, near in shape.unknown(list(environ))
    ]


async def _look(settings: Settings) -> list[Finding]:
    """Everything that only trying can tell."""
    from service.bootstrap import reach

    found = [_installed(), await _database(settings)]
    async for account, address, fault in reach(settings):
        found.append((fault is None, f"account {account}", fault or f"{address} resolves and may be called"))
    return found


def _installed() -> Finding:
    """Whether another distribution has put files over ours: pip does that without a word."""
    from importlib import metadata

    owners = metadata.packages_distributions()
    claimed = sorted({owner for name in ("service", "storage") for owner in owners.get(name, [])})
    strangers = [owner for owner in claimed if owner != "taskrelay"]
    if strangers:
        text = (
            f"{', '.join(strangers)} also installed a package named service or storage; use an environment of its own"
        )
        return False, "installation", text
    return True, "installation", "an environment of its own" if claimed else "run from its source folder"


async def _database(settings: Settings) -> Finding:
    """Open it as `serve` would, unless that would make it."""
    from service.bootstrap import StartError, open_store, secret_file
    from service.settings import masked
    from storage import callbacks, projects
    from storage.errors import StorageError

    name = f"database {masked(settings)['database_url']}"
    secrets = secret_file(settings)
    if secrets is not None:
        file = Path(settings.database_url.removeprefix("sqlite:///")).absolute()  # noqa: ASYNC240 (once, alone)
        if not file.exists():
            fine = file.parent.is_dir()
            return fine, name, "not there yet; serve makes it" if fine else f"the folder {file.parent} does not exist"
        if not settings.secret_keys and not secrets.exists():
            return False, name, f"{secrets} is missing: what the database holds sealed cannot be read. Bring it back"
    try:
        async with open_store(settings) as (database, _):
            keys = await database.read(projects.count_keys)
            orphans = await database.read(callbacks.count_orphans)
    except (StartError, StorageError, ValueError, OSError) as error:
        return False, name, cannot("", error).removeprefix(": ")
    durability = "synchronous=FULL" if secrets is not None else "synchronous_commit=on"
    hint = "" if keys else "; make one: taskrelay keys create --name me --scope tasks"
    told = f"opens, schema is current, {durability}, {keys} API key{'' if keys == 1 else 's'}{hint}"
    if orphans:
        told += f"; {orphans} push{'' if orphans == 1 else 'es'} of tasks it does not know (a restored backup? table callbacks)"
    return True, name, told


def _page(shown: Mapping[str, Any], problems: list[Problem], findings: list[Finding], sound: bool) -> Iterator[str]:
    if shown:
        yield "In force"
        rows = [(name, value) for name, value in flat(shown)]
        width = max(len(name) for name, _ in rows)
        yield from (f"  {name.ljust(width)}  {value}" for name, value in rows)
        yield ""
    if findings:
        yield "Tried"
        yield from (f"  {'✓' if fine else '✗'} {name}: {detail}" for fine, name, detail in findings)
        yield ""
    for title, wanted in (("To mend", False), ("To know", True)):
        told = [problem for problem in problems if problem.note is wanted]
        if told:
            yield title
            for problem in told:
                yield f"  {'!' if wanted else '✗'} {problem.text}"
                yield f"      {problem.fix}"
            yield ""
    yield "All well: taskrelay serve" if sound else "Not ready: mend what is marked ✗, then run taskrelay doctor again"


def flat(shown: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Nested settings as their variables. What is not set is shown as `-`."""
    for name, value in shown.items():
        if isinstance(value, Mapping):
            yield from flat(value, (*path, str(name)))
        else:
            text = ",".join(map(str, value)) if isinstance(value, list) else value
            text = str(text).lower() if isinstance(text, bool) else text
            yield "TASKRELAY_" + "__".join((*path, str(name))).upper(), "-" if text in (None, "") else str(text)
