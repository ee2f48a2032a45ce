"""`endpoints`: subscribe a URL, list subscriptions, end one."""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli.client import HERE, Api, Key, Url
from service.cli.tasks import After, Limit, more
from service.cli.terminal import Json, columns, say, show

app = typer.Typer(no_args_is_help=True, help="Subscribe a URL, list subscriptions, end one.")


@app.command("create")
def create(
    target: Annotated[str, typer.Argument(metavar="URL", help="Where events are sent.", show_default=False)],
    event: Annotated[
        list[str] | None,
        typer.Option(help="A type such as task.failed or task.*, as often as needed; by default every end of a task."),
    ] = None,
    description: Annotated[str | None, typer.Option(show_default=False)] = None,
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """Subscribe a URL. Its secret is shown once, here."""
    body: dict[str, object] = {"url": target}
    if event:
        body["events"] = event
    if description is not None:
        body["description"] = description
    with Api(url, key) as api:
        made = api.post("/v1/endpoints", body)
    if json:
        show(made)
        return
    say(f"{made['id']}  {made['status']}  {made['url']}")
    say(f"  events     {', '.join(made.get('events') or ['the ends of tasks'])}")
    if made.get("secret"):
        say(f"  secret     {made['secret']}")
        say("             Verify every event with it; keep it like a password.")


@app.command("list")
def list_endpoints(limit: Limit = 50, after: After = None, url: Url = HERE, key: Key = "", json: Json = False) -> None:
    """List subscriptions, newest first."""
    with Api(url, key) as api:
        page = api.get("/v1/endpoints", {"limit": limit, "after": after})
    if json:
        show(page)
        return
    rows = [
        (one["id"], one["status"], ",".join(one.get("events") or ["ends"]), one["url"], one.get("disabled_reason"))
        for one in page["data"]
    ]
    columns(rows, head=("ENDPOINT", "STATUS", "EVENTS", "URL", "WHY"))
    more(page)


@app.command("delete")
def delete(
    endpoint: Annotated[str, typer.Argument(metavar="ENDPOINT", help="Its id, ep_…", show_default=False)],
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """End a subscription. What it is still owed is not sent."""
    with Api(url, key) as api:
        api.delete(f"/v1/endpoints/{endpoint}")
    if json:
        show({"id": endpoint, "deleted": True})
    else:
        say(f"{endpoint}  deleted")
