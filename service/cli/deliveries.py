"""`deliveries`: what was sent to whom, how often, and with what answer."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from service.cli.client import HERE, Api, Key, Url
from service.cli.tasks import After, Limit, more
from service.cli.terminal import Json, columns, show

app = typer.Typer(no_args_is_help=True, help="What was sent to whom, how often, and with what answer.")

Filter = Annotated[str | None, typer.Option(show_default=False)]


@app.command("list")
def list_deliveries(
    status: Annotated[
        str | None, typer.Option(help="pending, delivered, exhausted, canceled or quarantined.", show_default=False)
    ] = None,
    task: Filter = None,
    event: Filter = None,
    endpoint: Filter = None,
    limit: Limit = 50,
    after: After = None,
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """List deliveries, newest first."""
    wanted = {"status": status, "task": task, "event": event, "endpoint": endpoint}
    with Api(url, key) as api:
        page = api.get("/v1/deliveries", {**wanted, "limit": limit, "after": after})
    if json:
        show(page)
        return
    columns(
        [_row(one) for one in page["data"]], head=("DELIVERY", "STATUS", "TYPE", "ENDPOINT", "ATTEMPTS", "LAST", "NEXT")
    )
    more(page)


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    attempts = one.get("attempts")
    tries = attempts if isinstance(attempts, list) else []
    last = tries[-1] if tries else {}
    answer = last.get("status_code") or last.get("error_class")
    count = len(tries) if isinstance(attempts, list) else attempts
    return one["id"], one["status"], one["event_type"], one["endpoint"], count, answer, one.get("next_attempt_at")
