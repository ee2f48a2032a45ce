"""`init`: a first `taskrelay.toml` and the file of keys, for the providers that are asked for. Nothing that is there is lost."""

from __future__ import annotations

import difflib
import getpass
import json as json_text
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.opening import environment
from service.cli.terminal import USAGE, Json, Stop, say, show

if TYPE_CHECKING:
    from service.settings import Problem

TOML, KEYS = Path("taskrelay.toml"), Path("taskrelay.secret")
NEXT = (
    ("taskrelay doctor", "what is in force, and what is wrong with it"),
    ("taskrelay keys create --name me --scope tasks", "a key for whoever asks"),
    ("taskrelay serve", ""),
)


@dataclass(frozen=True, slots=True)
class Account:
    """What is to be written of one. None: it is left to the operator, or stands in the environment."""

    provider: str
    api_key: str | None
    endpoint_path: str | None


def init(
    provider: Annotated[
        list[str] | None, typer.Option("--provider", "-p", help="An account for this provider; may be repeated.")
    ] = None,
    public_url: Annotated[str | None, typer.Option(help="Our own origin as providers reach it.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace taskrelay.toml. Keys are never replaced.")] = False,
    json: Json = False,
) -> None:
    """Write taskrelay.toml and taskrelay.secret here, for the providers named, and say what to do next.

    A provider's key is asked for, unseen, or taken from TASKRELAY_ACCOUNTS__<NAME>__API_KEY, where it then stays.
    """
    if TOML.exists() and not force:
        raise Stop(f"init: {TOML} is there and stays as it is. To check it: taskrelay doctor. To replace it: --force")
    asking = sys.stdin.isatty() and not json
    accounts = [_account(name, asking) for name in _providers(provider or [], asking)]
    if public_url is None and asking:
        public_url = _ask("Our origin as providers reach it, https://… (empty: everything is polled): ")
    text = settings_text(accounts, public_url or None)
    try:
        made = _make_keys()
        missing = _write(text, made, force)
    except OSError as error:
        raise Stop(f"init: cannot write here: {(error.strerror or str(error)).lower()}") from None
    _tell(made, missing, json)


def _providers(named: list[str], asking: bool) -> list[str]:
    from service.bootstrap.accounts import provider_names

    known = provider_names()
    if not named and asking:
        named = (_ask(f"Which providers ({', '.join(known)})? ") or "").replace(",", " ").split()
    if not named:
        raise Stop(f"init: name a provider: --provider {known[0]}. There are {', '.join(known)}", USAGE)
    for name in named:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(known)}"
            raise Stop(f"init: there is no provider {name!r}. {hint}", USAGE)
    return list(dict.fromkeys(named))


def _account(name: str, asking: bool) -> Account:
    from service.settings.check import NEEDS_ENDPOINT_PATH

    here = environment()
    key = path = None
    if asking and not _said(here, name, "API_KEY"):
        key = getpass.getpass(f"API key of {name} (not shown; empty: later): ").strip() or None
    if asking and name in NEEDS_ENDPOINT_PATH and not _said(here, name, "ENDPOINT_PATH"):
        path = _ask(f"Endpoint path that {name} gave you (empty: later): ")
    return Account(name, key, path)


def _said(environ: Mapping[str, str], name: str, key: str) -> bool:
    variable = f"TASKRELAY_ACCOUNTS__{name.upper()}__{key}"
    return any(environ.get(spelled, "").strip() for spelled in (variable, f"{variable}_FILE"))


def _ask(question: str) -> str | None:
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip() or None


def settings_text(accounts: list[Account], public_url: str | None) -> str:
    """A `taskrelay.toml`: what is needed, and in comments what is missing."""
    from service.settings.check import NEEDS_ENDPOINT_PATH
    from service.settings.model import OFF_UNTIL_ENABLED

    lines = [
        "# Settings of taskrelay. The environment wins: [accounts.x] api_key is TASKRELAY_ACCOUNTS__X__API_KEY there.",
        "# May hold providers' keys: keep it readable for its owner alone, and out of version control.",
        "",
        'database_url = "sqlite:///taskrelay.db"  # in the folder that serve is started in',
        f'secret_keys_file = "{KEYS}"  # signs and seals; without it what the database holds sealed is lost',
        _line("public_url", public_url, "https://relay.example.org", "providers push there; without it all is polled"),
    ]
    for account in accounts:
        lines += ["", f"[accounts.{account.provider}]", _line("api_key", account.api_key, "<its key>", "")]
        if account.provider in NEEDS_ENDPOINT_PATH:
            lines.append(_line("endpoint_path", account.endpoint_path, "abc123", "the segment it gave you"))
        lines.append("max_open_tasks = 100  # what your contract lets you have at a time")
        if account.provider in OFF_UNTIL_ENABLED:
            lines.append("enabled = false  # its replies are documented nowhere; true once you accept that")
    return "\n".join(lines) + "\n"


def _line(name: str, value: str | None, example: str, why: str) -> str:
    # A JSON string is a TOML one but for DEL, which JSON leaves as it is.
    said = json_text.dumps(value or example, ensure_ascii=False).replace("\x7f", "\\u007f")
    return f"{'' if value else '# '}{name} = {said}" + (f"  # {why}" if why else "")


def _make_keys() -> bool:
    """False when there are some: with others in their place, what is sealed could not be opened."""
    try:
        _private(KEYS, secrets.token_urlsafe(48) + "\n")
    except FileExistsError:
        return False
    return True


def _write(text: str, made: bool, force: bool) -> list[Problem]:
    """Put the settings in their place once they are known to be sound. Returns what only the operator can add."""
    fresh = Path(f".{TOML}.{os.getpid()}")
    placed = False
    try:
        _private(fresh, text)
        missing = _judged(fresh)
        if force:
            fresh.replace(TOML)
        else:
            os.link(fresh, TOML)  # unlike a rename it refuses when somebody was faster
        placed = True
    except FileExistsError:
        raise Stop(f"init: {TOML} was made meanwhile; it stays as it is") from None
    finally:
        fresh.unlink(missing_ok=True)
        if made and not placed:
            KEYS.unlink()
    return missing


def _judged(file: Path) -> list[Problem]:
    """Refuse what a start would refuse. The environment is not blamed on us: it only adds what it holds."""
    from service.bootstrap.accounts import provider_names, pushing_providers
    from service.settings import gather, problems

    found = gather({}, file)
    if found.problems or found.settings is None:
        said = [problem.text.replace(str(file), str(TOML)) for problem in found.problems]
        raise Stop("\n".join(f"init: {text}. Nothing was written" for text in said))
    whole = gather(environment(), file)
    judged = problems(whole.settings or found.settings, {}, providers=provider_names(), pushing=pushing_providers())
    return [problem for problem in judged if not problem.note]


def _private(path: Path, text: str) -> None:
    """Write a file that is not there yet and that only we can read: whole or not at all, and it must survive a power cut."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        opened = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(opened, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def _tell(made: bool, missing: list[Problem], json: bool) -> None:
    if json:
        steps = [command for command, _ in NEXT]
        told = [{"text": problem.text, "fix": problem.fix} for problem in missing]
        show({"settings": str(TOML), "keys": str(KEYS), "keys_made": made, "missing": told, "next": steps})
        return
    say(f"wrote {TOML} (0600)" + (f" and {KEYS} (0600)" if made else f"; {KEYS} was there and is kept"))
    say(f"Keep {KEYS} in a second place, and both out of version control.")
    if missing:
        say(f"\nMissing, in {TOML} or in the environment:")
    for problem in missing:
        say(f"  {problem.text}\n      {problem.fix}")
    say("\nNext:")
    for command, why in NEXT:
        say(f"  {command:46} # {why}" if why else f"  {command}")
