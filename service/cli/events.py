"""`events`: read the feed of what happened, a page at a time or as it happens."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.client import HERE, Api, Key, Url
from service.cli.listen import Since, moment
from service.cli.lists import After, All, Limit, listed
from service.cli.telling import notes, told
from service.cli.terminal import Json, columns, say, show

if TYPE_CHECKING:
    from service.cli.feed import Happened

app = typer.Typer(no_args_is_help=True, help="Read the feed of what happened.")

Type = Annotated[
    str | None, typer.Option(help="Such as task.failed; several by commas, a group as task.*", show_default=False)
]
OfTask = Annotated[str | None, typer.Option(help="Of one task.", show_default=False)]


@app.command("list")
def list_events(
    type: Type = None,
    task: OfTask = None,
    limit: Limit = 50,
    after: After = None,
    every: All = False,
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """List events, oldest first. The cursor is always told: ask again from there."""
    with Api(url, key) as api:
        wanted = {"type": type, "task": task}
        page = listed(api, "/v1/events", wanted, limit=limit, after=after, whole=every, quiet=json)
    if json:
        show(page)
        return
    rows = [(one["timestamp"], one["type"], (one.get("data") or {}).get("id"), one["id"]) for one in page["data"]]
    columns(rows, head=("AT", "TYPE", "ABOUT", "EVENT"))
    if page.get("next"):
        say(f"… go on: --after {page['next']}")


@app.command("get")
def get(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="Its id, evt_…", show_default=False)],
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """Show one event, byte for byte as it is signed."""
    with Api(url, key) as api:
        _raw(api.content(f"/v1/events/{event}"))


@app.command("tail")
def tail(
    type: Type = None,
    task: OfTask = None,
    since: Since = None,
    after: Annotated[
        str | None, typer.Option(help="Begin behind this event or cursor; by default now.", show_default=False)
    ] = None,
    url: Url = HERE,
    key: Key = "",
    json: Annotated[
        bool, typer.Option("--json", help="Each event in one line, byte for byte as it is signed.")
    ] = False,
) -> None:
    """Show events as they happen, until Ctrl-C. A line that breaks is taken up again; nothing is skipped."""
    from service.cli.feed import Feed

    wanted = {"type": type, "task": task, "created_after": moment(since)}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Api(url, key) as api:
        try:
            note, following = notes(json), False
            for event in Feed(api, wanted=wanted, after=after, note=note):
                if not following:
                    following = True
                    note("following; Ctrl-C ends it")
                if event is not None:
                    _show(event, json)
        except KeyboardInterrupt:
            pass
        except BrokenPipeError:  # whoever read has had enough; Python would complain once more at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show(event: Happened, json: bool) -> None:
    if json:
        _raw(event.body)
    else:
        say(f"{told(event)}  {event.id}")


def _raw(body: bytes) -> None:
    sys.stdout.buffer.write(body + b"\n")
    sys.stdout.buffer.flush()
