"""The database: whether it opens as `serve` would open it, whether our keys read what it holds, and what in it wants a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from service.cli.doctor import engine
from service.cli.doctor.finding import Finding, Grade, fine, note, wrong
from service.cli.doctor.parties import accounts_in, endpoints_in
from service.cli.hearing import unheard

if TYPE_CHECKING:
    from service.core.keys import Keyring
    from service.core.tokens import Tokens
    from service.settings import Settings
    from storage.database import Database

ABOUT = "database"
REMAKE_KEY = "taskrelay keys create --name me --scope tasks"


@dataclass(slots=True, kw_only=True)
class Seen:
    """`tokens`: of this installation, where its database and its keys could be read. `serving`: whether a process serves it."""

    findings: list[Finding] = field(default_factory=list)
    tokens: Tokens | None = None
    serving: bool | None = None  # None: it cannot be known


async def look(settings: Settings, *, keys_known: bool) -> Seen:
    """`keys_known`: not so when the configured keys could not be used; then nothing is said of what they should open."""
    from service.bootstrap.errors import StartError
    from service.bootstrap.keys import secret_file
    from service.bootstrap.stores import open_store
    from storage.errors import StorageError

    seen = Seen()
    beside = secret_file(settings)
    if beside is None and not await _reached(settings, seen):
        return seen
    if beside is not None and not _there(settings, beside, seen, keys_known=keys_known):
        return seen
    if not settings.secret_keys and not keys_known:
        return seen  # opening the store would make a key that nobody wants
    try:
        async with open_store(settings) as (database, keyring):
            await _read(settings, database, keyring, seen)
    except (StartError, StorageError, ValueError, OSError) as error:
        seen.findings += [wrong(ABOUT, line, _mend(line, settings)) for line in str(error).splitlines()[:3]]
    return seen


async def _reached(settings: Settings, seen: Seen) -> bool:
    """Whether there is a server that we may serve on. What is missing of the settings, others tell."""
    from service.bootstrap.world import clock
    from storage.errors import StorageError
    from storage.inspection import inspect

    try:
        found = await inspect(settings.database_url, clock=clock, pooled=settings.postgres.pooled)
    except StorageError as error:
        text, _, fix = str(error).partition(". ")
        seen.findings.append(wrong(ABOUT, text, fix or "TASKRELAY_DATABASE_URL=postgresql://user:password@host/name"))
        return False
    told = engine.judge(found)
    seen.findings += told
    seen.serving = bool(found.replicas) or None
    return all(one.grade is not Grade.WRONG for one in told)


def _there(settings: Settings, beside: Path, seen: Seen, *, keys_known: bool) -> bool:
    """Whether there is a file to open. It and its key are not made: looking changes nothing."""
    from storage import files, migrate
    from storage.errors import StorageError

    file = _file(settings)
    try:
        files.refuse_unusable(str(file))
    except StorageError as error:
        seen.findings.append(wrong(ABOUT, str(error), _mend(str(error), settings)))
        return False
    if not file.exists():
        seen.findings.append(fine(ABOUT, f"{file} is not there yet; serve makes it"))
        seen.serving = False
        return False
    if file.stat().st_mode & 0o077:
        text = f"{file} may be read by others on this machine, and it holds what clients asked for"
        seen.findings.append(note(ABOUT, text, f"chmod 600 {file}"))
    process = files.holder(str(file))
    seen.serving = process is not None
    seen.findings.append(fine(ABOUT, f"served by process {process}" if process else "nobody serves it now"))
    if older := migrate.behind(str(file)):
        text = f"{file} is of an older release: {', '.join(older)} is still to be applied, and it was not opened"
        seen.findings.append(note(ABOUT, text, "taskrelay db backup FILE, then taskrelay serve"))
        return False
    if keys_known and not settings.secret_keys and not beside.exists():
        text = f"{beside} is missing: what the database holds sealed cannot be read"
        seen.findings.append(wrong(ABOUT, text, f"bring {beside} back from your backup"))
        return False
    return True


def _file(settings: Settings) -> Path:
    return Path(settings.database_url.removeprefix("sqlite:///")).absolute()


def _mend(said: str, settings: Settings) -> str:
    """The line for what opening it said."""
    folder, local = _file(settings).parent, "TASKRELAY_DATABASE_URL=sqlite:////var/lib/taskrelay/taskrelay.db"
    for words, line in (
        ("folder does not exist", f"mkdir -p {folder}"),
        ("cannot be written", f"chown -R $(id -u) {folder}"),
        ("network file system", f"{local}   (a disk of this machine)"),
        ("install the newer release", "pip install --upgrade taskrelay"),
        ("SECRET_KEYS", 'TASKRELAY_SECRET_KEYS="$(openssl rand -base64 32)"'),
        ("not an SQLite database", f"{local}   (or: taskrelay db restore COPY)"),
        ("malformed", "taskrelay db restore COPY   (the newest backup; what is there goes aside)"),
        ("disk is full", f"df -h {folder}   (and make room)"),
    ):
        if words in said:
            return line
    return f"{local}   (or mend that one)"


async def _read(settings: Settings, database: Database, keyring: Keyring, seen: Seen) -> None:
    from service.bootstrap.keys import seals_of
    from service.bootstrap.world import clock
    from service.core.tokens import Tokens
    from storage import api_keys, callbacks, projects

    now = clock()
    if settings.database_url.startswith("sqlite:"):
        seen.findings.append(fine(ABOUT, "opens, schema is current, synchronous=FULL"))
    seen.findings += _keys(await database.read(api_keys.count))
    lost = sorted(set(await seals_of(database, keyring)) - set(keyring.key_ids))
    if lost:
        text = f"secrets in it are sealed with key {', '.join(lost)}, which is not among yours ({', '.join(keyring.key_ids)})"
        seen.findings.append(wrong(ABOUT, text, f"TASKRELAY_SECRET_KEYS=<yours>,<the one of id {lost[0]}>"))
    if orphans := await database.read(callbacks.count_orphans):
        several = "es" if orphans > 1 else ""
        text = f"{orphans} push{several} of tasks it does not know (a restored backup?)"
        seen.findings.append(note(ABOUT, text, "taskrelay db orphans"))
    if any(one.enabled for one in settings.accounts.values()) and (silent := await unheard(database, now)):
        seen.findings.append(note("endpoints", *silent))
    seen.findings += await endpoints_in(database, now)
    seen.findings += await accounts_in(database, settings, now)
    seen.tokens = Tokens(keyring, await database.read(projects.installation))


def _keys(count: int) -> Iterator[Finding]:
    if count:
        yield fine(ABOUT, f"{count} API key{'' if count == 1 else 's'}")
    else:
        yield note(ABOUT, "there is no API key, so nobody can ask for anything", REMAKE_KEY)
