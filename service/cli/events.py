"""`events`: read the feed of what happened."""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli.client import HERE, Api, Key, Url
from service.cli.tasks import After, Limit
from service.cli.terminal import Json, columns, say, show

app = typer.Typer(no_args_is_help=True, help="Read the feed of what happened.")


@app.command("list")
def list_events(
    type: Annotated[str | None, typer.Option(help="Such as task.failed.", show_default=False)] = None,
    task: Annotated[str | None, typer.Option(help="Of one task.", show_default=False)] = None,
    limit: Limit = 50,
    after: After = None,
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """List events, oldest first. The cursor is always told: ask again from there."""
    with Api(url, key) as api:
        page = api.get("/v1/events", {"type": type, "task": task, "limit": limit, "after": after})
    if json:
        show(page)
        return
    rows = [(one["timestamp"], one["type"], (one.get("data") or {}).get("id"), one["id"]) for one in page["data"]]
    columns(rows, head=("AT", "TYPE", "ABOUT", "EVENT"))
    if page.get("next"):
        say(f"… go on: --after {page['next']}")
