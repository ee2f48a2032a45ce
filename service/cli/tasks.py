"""`tasks`: look at tasks, see why one stands where it stands, cancel one. How they are followed: `watch`; settled: `resolve`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from service.cli import resolve, watch, why
from service.cli.client import HERE, Api, Key, Url
from service.cli.lists import After, All, Filter, Limit, listed, more, named
from service.cli.task_lines import id_of, named_task, task_lines, timeline_lines
from service.cli.terminal import Json, columns, say, show
from service.cli.when import maybe_instant

app = typer.Typer(no_args_is_help=True, help="Look at tasks, see why one stands where it stands, cancel or settle one.")

TaskId = Annotated[
    str, typer.Argument(metavar="TASK", help="Its id, task_…, or your own reference.", show_default=False)
]


@app.command("get")
def get(task: TaskId, url: Url = HERE, key: Key = "", json: Json = False) -> None:
    """Show one task."""
    with Api(url, key) as api:
        found = named_task(api, task)
    if json:
        show(found)
    else:
        say("\n".join(task_lines(found)))


@app.command("list")
def list_tasks(
    status: watch.Status = None,
    provider: Filter = None,
    account: Filter = None,
    reference: Filter = None,
    metadata: watch.Metadata = None,
    created_after: watch.CreatedAfter = None,
    created_before: watch.CreatedBefore = None,
    limit: Limit = 50,
    after: After = None,
    every: All = False,
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """List tasks, newest first."""
    wanted = {
        "status": status,
        "provider": provider,
        "account": account,
        "reference": reference,
        "created_after": maybe_instant(created_after, "--created-after"),
        "created_before": maybe_instant(created_before, "--created-before"),
        **{f"metadata.{name}": value for name, value in named(metadata).items()},
    }
    with Api(url, key) as api:
        page = listed(api, "/v1/tasks", wanted, limit=limit, after=after, whole=every, quiet=json)
    if json:
        show(page)
        return
    head = ("TASK", "STATUS", "MODEL", "REFERENCE", "CREATED")
    columns([_row(task) for task in page["data"]], head=head)
    more(page)


def _row(task: dict[str, Any]) -> tuple[object, ...]:
    return task["id"], task["status"], f"{task['provider']}/{task['model']}", task["reference"], task["created_at"]


@app.command("timeline")
def timeline(task: TaskId, url: Url = HERE, key: Key = "", json: Json = False) -> None:
    """Show everything that happened to a task, and what happens next, when and why."""
    with Api(url, key) as api:
        told = api.get(f"/v1/tasks/{id_of(api, task)}/timeline")
    if json:
        show(told)
    else:
        say("\n".join(timeline_lines(told)))


@app.command("cancel")
def cancel(task: TaskId, url: Url = HERE, key: Key = "", json: Json = False) -> None:
    """Cancel a task that is not bought yet."""
    with Api(url, key) as api:
        found = api.post(f"/v1/tasks/{id_of(api, task)}/cancel")
    if json:
        show(found)
    else:
        say("\n".join(task_lines(found)))


@app.command("reconcile")
def reconcile(
    task: TaskId,
    wait: Annotated[int, typer.Option(min=0, max=25, help="Seconds to wait for the answer.")] = 15,
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """Have its provider asked now, instead of when it is due, and show what that brought."""
    with Api(url, key) as api:
        found = api.post(f"/v1/tasks/{id_of(api, task)}/reconcile", None, {"wait": wait or None})
    if json:
        show(found)
    else:
        say("\n".join(task_lines(found)))


@app.command("delete")
def delete(task: TaskId, url: Url = HERE, key: Key = "", json: Json = False) -> None:
    """Erase what an ended task was about: prompt, inputs, outputs. What happened and what it cost stays."""
    with Api(url, key) as api:
        found = id_of(api, task)
        api.delete(f"/v1/tasks/{found}")
    if json:
        show({"id": found, "erased": True})
    else:
        say(f"{found} is erased: what happened and what it cost stays")


app.command("why")(why.why)
app.command("watch")(watch.watch)
app.command("resolve")(resolve.resolve)
