"""`health`: whether the taskrelay at an address takes work, for supervisors that run a command. Small, because it runs often."""

from __future__ import annotations

import http.client
import json as json_text
from typing import Annotated
from urllib.parse import urlsplit

import typer

from service.cli.client import HERE, URL_VARIABLE
from service.cli.terminal import UNREACHABLE, USAGE, Json, Stop, say, show

PATIENCE_SECONDS = 5.0  # readiness itself gives the database three
MOST = 65_536

Address = Annotated[str, typer.Option("--url", envvar=URL_VARIABLE, help="Where taskrelay listens.")]


def health(
    url: Address = HERE,
    live: Annotated[
        bool, typer.Option("--live", help="Only whether the process answers, whatever its database does.")
    ] = False,
    json: Json = False,
) -> None:
    """Say whether it takes work: exit 0 if it does, 1 and why if not, 3 if nobody answers. Needs no key."""
    path = "/livez" if live else "/readyz"
    status, said = _asked(url, path)
    if status != http.client.OK:
        why = said.get("detail") or "it says no more"
        raise Stop(f"health: {url}{path} says {status}: {why}", facts={"status": status, "detail": str(why)})
    if json:
        show({"url": url, "ok": True})
    else:
        say(f"{url} {'answers' if live else 'takes work'}")


def _asked(url: str, path: str) -> tuple[int, dict[str, object]]:
    """The answer's status and what it says, if that can be read. Raises `Stop`."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Stop(f"health: {url!r} is not a URL; it looks like {HERE}", USAGE)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    line = kind(parts.hostname, parts.port, timeout=PATIENCE_SECONDS)
    try:
        line.request("GET", parts.path.rstrip("/") + path)
        reply = line.getresponse()
        body = reply.read(MOST)
    except (OSError, http.client.HTTPException) as error:
        raise Stop(f"health: {url} does not answer: {error or type(error).__name__}", UNREACHABLE) from None
    finally:
        line.close()
    try:
        said = json_text.loads(body)
    except (ValueError, RecursionError):
        said = None
    return reply.status, said if isinstance(said, dict) else {}
