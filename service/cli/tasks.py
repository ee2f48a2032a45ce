"""`tasks`: look at tasks, see why one stands where it stands, cancel one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import typer

from service.cli.client import HERE, Api, Key, Url
from service.cli.terminal import Json, columns, say, show

app = typer.Typer(no_args_is_help=True, help="Look at tasks, see why one stands where it stands, cancel one.")

TaskId = Annotated[str, typer.Argument(metavar="TASK", help="Its id, task_…", show_default=False)]
Filter = Annotated[str | None, typer.Option(show_default=False)]
Limit = Annotated[int, typer.Option(min=1, max=200, help="How many at most.")]
After = Annotated[str | None, typer.Option(help="The cursor that the page before ended with.", show_default=False)]


@app.command("get")
def get(task: TaskId, url: Url = HERE, key: Key = "", json: Json = False) -> None:
    """Show one task."""
    with Api(url, key) as api:
        found = api.get(f"/v1/tasks/{task}")
    if json:
        show(found)
    else:
        say("\n".join(task_lines(found)))


@app.command("list")
def list_tasks(
    status: Filter = None,
    provider: Filter = None,
    account: Filter = None,
    reference: Filter = None,
    limit: Limit = 50,
    after: After = None,
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """List tasks, newest first."""
    wanted = {"status": status, "provider": provider, "account": account, "reference": reference}
    with Api(url, key) as api:
        page = api.get("/v1/tasks", {**wanted, "limit": limit, "after": after})
    if json:
        show(page)
        return
    head = ("TASK", "STATUS", "MODEL", "REFERENCE", "CREATED")
    columns(
        [
            (task["id"], task["status"], f"{task['provider']}/{task['model']}", task["reference"], task["created_at"])
            for task in page["data"]
        ],
        head=head,
    )
    more(page)


@app.command("timeline")
def timeline(task: TaskId, url: Url = HERE, key: Key = "", json: Json = False) -> None:
    """Show everything that happened to a task, and what happens next, when and why."""
    with Api(url, key) as api:
        told = api.get(f"/v1/tasks/{task}/timeline")
    if json:
        show(told)
    else:
        say("\n".join(timeline_lines(told)))


@app.command("cancel")
def cancel(task: TaskId, url: Url = HERE, key: Key = "", json: Json = False) -> None:
    """Cancel a task that is not bought yet."""
    with Api(url, key) as api:
        found = api.post(f"/v1/tasks/{task}/cancel")
    if json:
        show(found)
    else:
        say("\n".join(task_lines(found)))


def more(page: Mapping[str, Any]) -> None:
    """Say how to see the rest of a list."""
    if page.get("has_more"):
        say(f"… more: --after {page['next']}")


def task_lines(task: Mapping[str, Any]) -> list[str]:
    """A task for a person: what is known, leaving out what is not."""
    cost = task.get("cost") or {}
    error = task.get("error") or {}
    following = task.get("next") or {}
    facts = {
        "model": f"{task['provider']}/{task['model']}   account {task['account']}",
        "phase": task.get("phase"),
        "progress": None if task.get("progress") is None else f"{task['progress']} %",
        "output": task.get("output_url"),
        "error": f"{error['code']}  {error['message']}" if error else None,
        "retry": "creating it again may work, and will be charged again" if error.get("retryable") else None,
        "reference": task.get("reference"),
        "charge": " ".join(str(part) for part in (task.get("charge"), *_amount(cost)) if part),
        "created": task.get("created_at"),
        "finished": task.get("finished_at"),
        "final": "no: a late verdict may still change this end"
        if task.get("finished_at") and not task["final"]
        else None,
        "next": next_line(following),
    }
    return [f"{task['id']}  {task['status']}", *(f"  {name:9}  {fact}" for name, fact in facts.items() if fact)]


def timeline_lines(told: Mapping[str, Any]) -> list[str]:
    """What happened, each at its distance from the beginning, and what comes next."""
    entries = told.get("data") or []
    began = instant(entries[0]["at"]) if entries else 0.0
    lines = [f"{told['task']}  {told['status']}"]
    if entries:
        lines.append(f"  {entries[0]['at']}")
    for entry in entries:
        lines.append(f"  {instant(entry['at']) - began:+10.3f} s  {entry['source']:9} {entry['message']}")
    if following := next_line(told.get("next") or {}):
        lines.append(f"  next: {following}")
    return lines


def instant(text: str) -> float:
    """An ISO time as seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()


def next_line(following: Mapping[str, Any]) -> str | None:
    """`poll at 2026-…Z: its push is overdue`."""
    if not following:
        return None
    at = f" at {following['at']}" if following.get("at") else ""
    reason = f": {following['reason']}" if following.get("reason") else ""
    return f"{following.get('action')}{at}{reason}"


def _amount(cost: Mapping[str, Any]) -> tuple[object, ...]:
    return (cost.get("charged") or cost.get("estimated"), cost.get("unit"))
