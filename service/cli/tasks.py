"""`tasks`: look at tasks, see why one stands where it stands, cancel one, settle purchases in doubt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from service.cli.client import HERE, Api, Key, Url
from service.cli.terminal import USAGE, Json, Stop, columns, console, say, show

app = typer.Typer(no_args_is_help=True, help="Look at tasks, see why one stands where it stands, cancel or settle one.")

TaskId = Annotated[str, typer.Argument(metavar="TASK", help="Its id, task_…", show_default=False)]
Filter = Annotated[str | None, typer.Option(show_default=False)]
Limit = Annotated[int, typer.Option(min=1, max=200, help="How many at most.")]
After = Annotated[str | None, typer.Option(help="The cursor that the page before ended with.", show_default=False)]


class Action(StrEnum):
    """What may be said of a purchase whose fate is unknown."""

    ADOPT = "adopt"
    RESUBMIT = "resubmit"
    ABANDON = "abandon"


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


@app.command("delete")
def delete(task: TaskId, url: Url = HERE, key: Key = "", json: Json = False) -> None:
    """Erase what an ended task was about: prompt, inputs, outputs. What happened and what it cost stays."""
    with Api(url, key) as api:
        api.delete(f"/v1/tasks/{task}")
    if json:
        show({"id": task, "erased": True})
    else:
        say(f"{task} is erased: what happened and what it cost stays")


@app.command("resolve")
def resolve(
    action: Annotated[Action, typer.Option(help="What is to be done.", show_default=False)],
    task: Annotated[
        str | None,
        typer.Argument(metavar="[TASK]", help="Its id; without one, those of the filters.", show_default=False),
    ] = None,
    provider_task_id: Annotated[str | None, typer.Option(help="With adopt: the job's id.", show_default=False)] = None,
    possible_double_charge: Annotated[
        bool, typer.Option("--possible-double-charge", help="With resubmit: accept that it may be bought twice.")
    ] = False,
    status: Filter = None,
    provider: Filter = None,
    account: Filter = None,
    url: Url = HERE,
    key: Key = "",
    json: Json = False,
) -> None:
    """Settle purchases whose fate is unknown: adopt the job you know, send once more, or give up."""
    if action is Action.RESUBMIT and not possible_double_charge:
        raise Stop("resubmit may buy a second time. To accept that: --possible-double-charge", USAGE)
    filters = {"status": status, "provider": provider, "account": account}
    wanted = {name: value for name, value in filters.items() if value}
    if bool(task) == bool(wanted):
        raise Stop("name one task, or say which with --status, --provider or --account", USAGE)
    order: dict[str, Any] = {"action": action.value}
    if possible_double_charge:
        order["possible_double_charge"] = True
    if provider_task_id is not None:
        order["provider_task_id"] = provider_task_id
    with Api(url, key) as api:
        many = None if task else _resolve_all(api, {**order, "filter": wanted})
        found = many or api.post(f"/v1/tasks/{task}/resolve", order)
    if json:
        show(found)
    else:
        say("\n".join(task_lines(found)) if task else f"{action.value}: {found['count']} tasks")


def _resolve_all(api: Api, order: Mapping[str, Any]) -> dict[str, Any]:
    """The word about all, request by request, because each looks at so many only."""
    count, after = 0, None
    with console(stderr=True).status("Settling …") as status:
        while True:
            page = api.post("/v1/tasks/resolve", order, {"after": after})
            count, after = count + page["count"], page["next"]
            status.update(f"Settling … {count:,} tasks")
            if after is None:
                return {**page, "count": count}


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
        "surplus": _surplus(cost.get("surplus") or ()),
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


def _surplus(jobs: Sequence[Mapping[str, Any]]) -> str | None:
    """Jobs bought beside the task's own."""
    told = [" ".join(str(part) for part in (one["provider_task_id"], *_amount(one)) if part) for one in jobs]
    return f"bought too many, charged as well: {', '.join(told)}" if told else None


def _amount(cost: Mapping[str, Any]) -> tuple[object, ...]:
    return (cost.get("charged") or cost.get("estimated"), cost.get("unit"))
