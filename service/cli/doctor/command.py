"""`doctor`: goes through every part and tells all that is wrong at once. What cannot be used is left out, the rest still judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.client import CLIENT_VARIABLES
from service.cli.doctor.finding import Finding
from service.cli.doctor.page import document, page, sound
from service.cli.opening import environment
from service.cli.stopping import run
from service.cli.terminal import FAILED, OK, Json, say, show

if TYPE_CHECKING:
    from service.settings import Gathered


def doctor(
    offline: Annotated[
        bool, typer.Option("--offline", help="Look at the settings only; open and resolve nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what is in force and everything that is wrong with it, each with the line that mends it. Exit 1 if anything is.

    Opens the database, asks every provider's address for its time (no key is sent, nothing is paid), and posts a probe
    to PUBLIC_URL/callbacks/… as a provider would.
    """
    from service.settings import gather, masked

    environ = {name: value for name, value in environment().items() if name not in CLIENT_VARIABLES}
    given = gather(environ)
    findings = run(_findings(given, environ, offline=offline))
    shown = masked(given.settings) if given.settings is not None else {}
    if json:
        show(document(shown, findings))
    else:
        say("\n".join(page(shown, findings)))
    raise typer.Exit(OK if sound(findings) else FAILED)


async def _findings(given: Gathered, environ: Mapping[str, str], *, offline: bool) -> list[Finding]:
    from service.cli.doctor import accounts, door, host, said, store

    settings = given.settings
    found = said.judge(given, environ)
    if settings is None or offline:
        return found
    found += host.judge(host.measure(settings), settings)
    found += host.readable_secrets(settings, environ)
    seen = await store.look(settings, keys_known="secret_keys" not in given.left_out)
    found += seen.findings
    found += await accounts.look(settings, found)
    found += await door.look(settings, seen)
    return found
