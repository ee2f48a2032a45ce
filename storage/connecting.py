"""One connection to PostgreSQL: of several hosts in the URL the first that lets us in and takes writes, within seconds for each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg

from storage.errors import Unreached
from storage.postgres_errors import away, translated
from storage.reaching import refused

if TYPE_CHECKING:
    Link: TypeAlias = asyncpg.Connection[asyncpg.Record]

CONNECT_SECONDS = 5.0
# A machine that is gone says nothing, and would use up what is left for the others: the driver's own time-out is one for all hosts.
HOST_SECONDS = 2.0
HOST = re.compile(r"(\[[^\]]+\]|[^:\[\]]+)(?::(\d+))?")


async def connect(url: str, *, standby: bool = False, **ways: Any) -> Link:
    """Raises what the driver raises: of several hosts, what the last one said. `standby`: one that only reads will do."""
    places: list[Mapping[str, Any]] = [{"host": host, "port": port} for host, port in hosts(url)]
    for place in places[:-1]:
        try:
            return await _entered(url, place, standby, HOST_SECONDS, ways)
        except Exception as error:
            if not away(error):
                raise
    return await _entered(url, places[-1] if places else {}, standby, CONNECT_SECONDS, ways)


async def reach(dsn: str | None = None, **ways: Any) -> Link:
    """The same for who serves: raises `Unreached`, so that nobody takes it for what a unit of work did."""
    url = dsn or ""
    try:
        return await connect(url, **ways)
    except Exception as error:
        raise Unreached(str(refused(error, url) or translated(error))) from error


def hosts(url: str) -> list[tuple[str, int | None]]:
    """Those of a URL that names several; nothing for one, or where the driver shall say what is wrong."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return []
    asked = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    spec = parts.netloc.rpartition("@")[2]
    named = spec.split(",") if spec else asked.get("host", "").split(",")
    ports = asked.get("port", "").split(",")
    found: list[tuple[str, int | None]] = []
    for place, text in enumerate(named):
        match = HOST.fullmatch(text)
        port = match[2] if match is not None and match[2] else ports[place] if len(ports) == len(named) else ports[0]
        if match is None or not (port == "" or port.isdecimal()):
            return []
        found.append((unquote(match[1]).strip("[]"), int(port) if port else None))
    return found if len(found) > 1 else []


async def _entered(url: str, place: Mapping[str, Any], standby: bool, seconds: float, ways: Mapping[str, Any]) -> Link:
    link: Link = await asyncpg.connect(url, timeout=seconds, **place, **ways)
    # The server reports it by itself. One that only reads may be behind: what it answers was true once.
    if not standby and getattr(link.get_settings(), "in_hot_standby", "off") == "on":
        link.terminate()
        raise asyncpg.ReadOnlySQLTransactionError("it is a standby, and only reads")
    return link
