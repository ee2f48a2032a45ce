"""What commands need that work on this machine's own taskrelay: its settings, its open store; and one clear line when not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from service.cli.client import CLIENT_VARIABLES
from service.cli.terminal import Stop

if TYPE_CHECKING:
    from service.core.keys import Keyring
    from service.settings import Settings
    from storage.database import Database

T = TypeVar("T")


def environment(said: Mapping[str, object] | None = None) -> dict[str, str]:
    """The environment with what the command line says on top, so that one place judges both."""
    from service import settings

    flags = {f"TASKRELAY_{name}": str(value) for name, value in (said or {}).items() if value is not None}
    return {**settings.environment(), **flags}


def settings_of(command: str, said: Mapping[str, object] | None = None) -> Settings:
    """The settings in force. `said`: what the command line sets, by the variable's name without its prefix."""
    from service.settings import SettingsError, load

    given = environment(said)
    try:
        return load({name: value for name, value in given.items() if name not in CLIENT_VARIABLES})
    except SettingsError as error:
        lines = [f"{command}: {problem.text}\n    {problem.fix}" for problem in error.problems]
        raise Stop("\n".join(lines), facts={"problems": [told(problem) for problem in error.problems]}) from None


def told(problem: object) -> dict[str, object]:
    """A problem of the settings for a program."""
    return {name: getattr(problem, name) for name in ("text", "fix", "note")}


@asynccontextmanager
async def store_of(command: str, settings: Settings) -> AsyncIterator[tuple[Database, Keyring]]:
    """The open database and the keys. Works beside a serving process: it only reads and writes."""
    from service.bootstrap.stores import open_store

    async with AsyncExitStack() as stack:
        yield await _entered(command, stack, open_store(settings))


@asynccontextmanager
async def database_of(command: str, settings: Settings) -> AsyncIterator[Database]:
    """The same without keys, for what needs none."""
    from service.bootstrap.stores import open_alone

    async with AsyncExitStack() as stack:
        yield await _entered(command, stack, open_alone(settings))


async def _entered(command: str, stack: AsyncExitStack, opening: AbstractAsyncContextManager[T]) -> T:
    from service.bootstrap.errors import StartError
    from storage.errors import StorageError

    try:
        return await stack.enter_async_context(opening)
    except (StartError, StorageError, ValueError, OSError) as error:
        raise Stop(cannot(command, error)) from None


def refuse_to_make(command: str, settings: Settings) -> None:
    """A database that is not there would be made, agree with itself, and only hide a wrong address."""
    url = settings.database_url
    if url.startswith("sqlite:///") and not (path := Path(url.removeprefix("sqlite:///")).absolute()).exists():
        raise Stop(f"{command}: there is no database at {path}. TASKRELAY_DATABASE_URL names another")


def cannot(command: str, error: Exception) -> str:
    """Why something did not open, a line for every reason."""
    return "\n".join(f"{command}: {line}" for line in (str(error) or type(error).__name__).splitlines())
