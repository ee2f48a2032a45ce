"""`whoami`: which key this is, and what it may do."""

from __future__ import annotations

from service.cli.client import HERE, Api, Key, Url
from service.cli.terminal import Json, say, show


def whoami(url: Url = HERE, key: Key = "", json: Json = False) -> None:
    """Say which key this is, of which project, and what it may do."""
    with Api(url, key) as api:
        found = api.get("/v1/whoami")
    if json:
        show(found)
        return
    project = found["project"]
    say(f"{found['id']}  {found['name']}")
    say(f"  project    {project['name'] or '-'}  ({project['id']})")
    say(f"  scopes     {', '.join(found['scopes'])}")
    say(f"  at         {url}")
